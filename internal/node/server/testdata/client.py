"""A client that nobody of this project wrote: Debian's python3-websockets."""
import asyncio
import json
import ssl
import sys

import websockets


async def main(url, ca):
    trust = ssl.create_default_context(cafile=ca)
    async with websockets.connect(
        url, ssl=trust, server_hostname="server", subprotocols=["numbered-echo.wslab"]
    ) as ws:
        await ws.send(json.dumps({"type": "message", "seq": 1}))
        echo = json.loads(await ws.recv())
        await ws.send("grüße")
        text = await ws.recv()
        await ws.send(b"\x00\xff")
        binary = await ws.recv()
        await asyncio.wait_for(await ws.ping(), 10)
        await ws.send(json.dumps({"type": "heartbeat", "ts": "2026-01-02T03:04:05Z"}))
        heartbeat = json.loads(await ws.recv())
        report = {
            "echo": echo,
            "text": text,
            "binary": binary.hex(),
            "heartbeat": heartbeat["ts"],
            "subprotocol": ws.subprotocol,
            "extensions": [e.name for e in ws.extensions],
        }
    report["code"] = ws.close_code
    json.dump(report, sys.stdout)


asyncio.run(main(*sys.argv[1:]))
