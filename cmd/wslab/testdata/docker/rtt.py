# Measures round trips over one connection, a line each, until standard input ends.
import asyncio
import json
import os
import ssl
import sys
import time

import websockets


async def main():
    tls = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with websockets.connect("wss://server/?session=rtt", ssl=tls, ping_interval=None) as ws:
        n = 0
        while not stop.done():
            n += 1
            start = time.monotonic()
            await ws.send(json.dumps({"type": "message", "seq": n}))
            assert json.loads(await ws.recv()) == {"type": "echo", "seq": n}
            print(int((time.monotonic() - start) * 1000), flush=True)
            await asyncio.sleep(0.05)


asyncio.run(main())
