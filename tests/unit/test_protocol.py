"""What a request leaves behind in the server's process."""

import asyncio
import gc

import uvicorn
from uvicorn.server import ServerState

from engineroom.app import create_app
from engineroom.protocol import Protocol

REQUEST = b'POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n{"a":1}'


class Transport(asyncio.Transport):
    """Takes answers in place of a socket."""

    def __init__(self):
        super().__init__({"socket": None})
        self.answers = asyncio.Queue()

    def writelines(self, parts):
        self.answers.put_nowait(b"".join(parts))

    def close(self):
        pass

    def is_closing(self):
        return False

    def resume_reading(self):
        pass


async def garbage_of(app, requests):
    """How many objects only the garbage collector could free, of requests one after the other."""
    config = uvicorn.Config(app, lifespan="off", proxy_headers=False, log_config=None)
    config.load()
    async with app.router.lifespan_context(app):
        protocol, transport = Protocol(config, ServerState(), {}), Transport()
        protocol.connection_made(transport)
        protocol.data_received(REQUEST)
        await transport.answers.get()
        gc.collect()
        gc.disable()
        for _ in range(requests):
            protocol.data_received(REQUEST)
            assert (await transport.answers.get()).endswith(b'{"a":1}')
        found = gc.collect()
        gc.enable()
        protocol.connection_lost(None)
    return found


def test_a_request_leaves_nothing_that_only_the_garbage_collector_finds(services):
    assert asyncio.run(garbage_of(create_app(services / "echo"), 100)) < 20
