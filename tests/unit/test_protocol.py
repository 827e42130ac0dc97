"""Requests on a connection whose socket is a fake, to see what they leave behind in the server."""

import asyncio
import contextlib
import gc

import pytest
import uvicorn
from uvicorn.server import ServerState

from engineroom.app import create_app
from engineroom.protocol import Protocol

REQUEST = b'POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n{"a":1}'
BROKEN = REQUEST.replace(b"}", b"]")
FORM = b'--e\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
HALF_A_FORM = (
    b"POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=e\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(FORM), FORM)
)


class Transport(asyncio.Transport):
    """Takes answers in place of a socket."""

    def __init__(self):
        super().__init__({"socket": None})
        self.answers, self.is_closed = asyncio.Queue(), False

    def writelines(self, parts):
        self.answers.put_nowait(b"".join(parts))

    def close(self):
        self.is_closed = True

    def is_closing(self):
        return self.is_closed

    def resume_reading(self):
        pass


@contextlib.asynccontextmanager
async def connections(app, number=1):
    """So many of them, each as what takes its requests and what takes its answers."""
    config = uvicorn.Config(app, lifespan="off", proxy_headers=False, log_config=None)
    config.load()
    async with app.router.lifespan_context(app):
        pairs = [(Protocol(config, ServerState(), {}), Transport()) for _ in range(number)]
        for protocol, transport in pairs:
            protocol.connection_made(transport)
        yield pairs
        for protocol, _ in pairs:
            protocol.connection_lost(None)


async def garbage_of(app, request, requests):
    """How many objects only the garbage collector could free, of requests one after the other."""
    async with connections(app) as [(protocol, transport)]:
        protocol.data_received(request)
        expected = await transport.answers.get()
        gc.collect()
        gc.disable()
        for _ in range(requests):
            protocol.data_received(request)
            assert len(await transport.answers.get()) in range(len(expected), len(expected) + 3)
        found = gc.collect()
        gc.enable()
    return found


@pytest.mark.parametrize("request_", [REQUEST, BROKEN, HALF_A_FORM], ids=["good", "broken", "form"])
def test_a_request_leaves_nothing_that_only_the_garbage_collector_finds(services, request_):
    app = create_app(services / "echo")
    assert asyncio.run(garbage_of(app, request_, 100)) < 20


def test_a_broken_request_is_decoded_once(services):
    app, decoded = create_app(services / "echo"), []
    predict = app.predicts["/"]
    decode = predict.decode
    predict.decode = lambda *sent: (decoded.append(sent), decode(*sent))[1]

    async def ask():
        async with connections(app) as [(protocol, transport)]:
            protocol.data_received(BROKEN)
            return await transport.answers.get()

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert len(decoded) == 1


def test_an_answer_that_cannot_be_written_ends_its_connection_and_no_other(services):
    app = create_app(services / "echo")

    async def ask():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with connections(app, 2) as [(broken, ended), (good, transport)]:
            broken.server_state.default_headers = [None]
            broken.data_received(REQUEST)
            good.data_received(REQUEST)
            return await transport.answers.get(), ended.is_closed, transport.is_closed

    answer, ended, closed = asyncio.run(ask())
    assert (answer.endswith(b'{"a":1}'), ended, closed) == (True, True, False)
