"""uvicorn's HTTP protocol with two repairs."""

from __future__ import annotations

import json
import re
import sys

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engineroom.errors import InvalidBodyError

UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 on httptools."""

    def data_received(self, data: bytes) -> None:
        # The parser drops the body of a request that offers an upgrade, as Java's HttpClient and
        # curl --http2 do with h2c on every POST. An offer may be ignored (RFC 9110, 7.8).
        if self.cycle is None or self.cycle.response_complete:
            head, end, rest = data.partition(b"\r\n\r\n")
            if end and b"pgrade:" in head:
                data = UPGRADE.sub(b"", head) + end + rest
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP, in the words of the parser and the shape of ours."""
        reason = str(sys.exc_info()[1] or msg)
        error = InvalidBodyError(f"the request is not valid HTTP: {reason}")
        body = json.dumps(error.body("none")).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        self.transport.close()
