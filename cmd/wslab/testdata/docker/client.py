# A WebSocket client of the Python library websockets, as somebody might write
# one: it talks, is quiet, and talks again. Its own ping is the only keepalive.
import asyncio
import json
import os
import ssl
import sys

import websockets


async def main(ping, talk, quiet):
    tls = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    url = "wss://server/?session=python"
    result = {"sent": 0, "echoed": 0, "error": None}
    try:
        async with websockets.connect(
            url, ssl=tls, ping_interval=ping or None, ping_timeout=10, close_timeout=0.2
        ) as ws:
            for rounds in (3, 3):
                for _ in range(rounds):
                    result["sent"] += 1
                    await ws.send(json.dumps({"type": "message", "seq": result["sent"]}))
                    reply = await asyncio.wait_for(ws.recv(), talk)
                    assert json.loads(reply) == {"type": "echo", "seq": result["sent"]}, reply
                    result["echoed"] += 1
                if rounds and result["sent"] == 3:
                    print("quiet", flush=True)
                    await asyncio.sleep(quiet)
    except Exception as e:
        result["error"] = type(e).__name__
    print(json.dumps(result), flush=True)


asyncio.run(main(*(float(a) for a in sys.argv[1:])))
