"""The floor: one bare ASGI function on uvicorn, which does the work of ``workload`` inline.

python benchmarks/raw.py MODEL PORT
"""

from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from PIL import Image


def make_app(path: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options)

    def answer(body: bytes) -> bytes:
        picture = Image.open(io.BytesIO(base64.b64decode(json.loads(body)["images"])))
        pixels = np.asarray(picture, np.float32).reshape(1, 784)
        (rows,) = session.run(None, {"x": pixels})
        return json.dumps({"digit": int(np.argmax(rows[0]))}).encode()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        reply = answer(body) if body else b"{}"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(reply)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    return app


if __name__ == "__main__":
    uvicorn.run(
        make_app(sys.argv[1]), port=int(sys.argv[2]), lifespan="off", access_log=False,
        log_level="warning",
    )  # fmt: skip
