// A client in Node (node-ws). It keeps its connection alive with pings, gives it up when one is not
// answered, and opens another one when it is lost.
const WebSocket = require('ws')
const speed = Number(process.env.WSLAB_SPEED) // the lab's minutes are shorter by that

function connect() {
  const ws = new WebSocket(process.env.WSLAB_URL)
  let alive = true
  const beat = () => {
    if (!alive) return ws.terminate()
    if (ws.readyState === WebSocket.OPEN) { alive = false; ws.ping() }
  }
  const keepalive = setInterval(beat, 20000 / speed)
  ws.on('pong', () => { alive = true })
  ws.on('message', (text) => {
    const message = JSON.parse(text)
    if (message.type === 'push') ws.send(JSON.stringify({ type: 'push-ack', seq: message.seq }))
  })
  ws.on('error', () => {})
  ws.on('close', () => { clearInterval(keepalive); setTimeout(connect, 1000 / speed) })
}
connect()
