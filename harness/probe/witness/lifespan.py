"""The raw ASGI app, and beside it `/lifespan`: what it was told of its own life.

Served by `gatebench probe`; GATEBENCH_RAW is the folder of the raw app.
"""

import importlib
import json
import os
import sys
from typing import Any

sys.path.append(os.environ["GATEBENCH_RAW"])
raw = importlib.import_module("asgi").app
seen = {"startup": False}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Note startup and shutdown, and leave a mark in the state for requests to find."""
    if scope["type"] == "lifespan":
        while (kind := (await receive())["type"]) != "lifespan.shutdown":
            seen["startup"] = True
            if "state" in scope:
                scope["state"]["witness"] = "kept"
            await send({"type": f"{kind}.complete"})
        print("witness: shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http" and scope["path"] == "/lifespan":
        found = {**seen, "state": (scope.get("state") or {}).get("witness") == "kept"}
        body = json.dumps(found).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        await raw(scope, receive, send)
