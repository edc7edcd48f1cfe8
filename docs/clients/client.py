# A client in Python (python3-websockets). It keeps its connection alive with pings, and
# opens another one when that is lost.
import asyncio, json, os, ssl
import websockets

speed = float(os.environ["WSLAB_SPEED"])  # the lab's minutes are shorter by that

async def main():
    async for ws in websockets.connect(os.environ["WSLAB_URL"], ping_interval=20 / speed, ping_timeout=10 / speed):
        try:
            async for text in ws:
                message = json.loads(text)
                if message["type"] == "push":
                    await ws.send(json.dumps({"type": "push-ack", "seq": message["seq"]}))
        except websockets.ConnectionClosed:
            pass  # and around again

asyncio.run(main())
