"""A socket that listens: who takes what comes, and its end, after which nothing more begins."""

import asyncio
import contextlib
import errno
import functools
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from engineroom.errors import SettingError
from engineroom.listening import Acceptor, begin_no_more, listen, waiting
from engineroom.turns import WAIT_S

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux drops the packets")


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request):
    try:
        found = listen(request.param, 0)
    except SettingError:
        pytest.skip("no IPv6 here")
    with found:
        found.listen()
        yield found


def connect(listening):
    return socket.create_connection(listening.getsockname()[:2], timeout=5)


@on_linux
def test_a_connection_that_was_not_accepted_yet_is_kept(listening):
    with connect(listening) as client:
        begin_no_more(listening)
        with listening.accept()[0] as accepted:
            client.sendall(b"a question")
            assert accepted.recv(100) == b"a question"
            accepted.sendall(b"an answer")
        assert client.recv(100) == b"an answer"


@on_linux
def test_a_client_that_comes_later_is_refused_and_not_reset(listening):
    begin_no_more(listening)
    with ThreadPoolExecutor() as pool:
        late = pool.submit(connect, listening)
        assert not wait([late], timeout=0.3).done
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
        listening.close()
        with pytest.raises(ConnectionRefusedError):
            late.result()


class Line(asyncio.Protocol):
    def __init__(self, some):
        self.some, self.transport = some, None

    def connection_made(self, transport):
        self.transport = transport
        self.some.connections.add(self)
        self.some.acceptor.look()

    def connection_lost(self, _error):
        self.some.connections.remove(self)
        self.some.acceptor.on_lost()


class Some:
    """An acceptor, and three clients; it is ahead of the others once it has taken its share."""

    def __init__(self, share):
        self.share, self.connections, self.counted = share, set(), []

    def protocol(self):
        return Line(self)

    def lead(self, number):
        self.counted.append(number)
        return max(0, number - self.share + 1)

    @property
    def taken(self):
        return len(self.connections)

    async def __aenter__(self):
        self._open = contextlib.ExitStack()
        listening = self._open.enter_context(listen("127.0.0.1", 0))
        self.acceptor = Acceptor(listening, 10, self.protocol, self.connections, self.lead)
        for _ in range(3):
            self._open.enter_context(connect(listening))
        await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_):
        self._open.close()


class Turn:
    """Which turn of the event loop this is."""

    number = 0

    def __enter__(self):
        self._next()
        return self

    def __exit__(self, *_):
        self._handle.cancel()

    def _next(self):
        self.number += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)


def in_a_loop(test):
    """Run the test in an event loop."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture
def patient(monkeypatch):
    """Whoever is ahead waits for as long as a test takes."""
    monkeypatch.setattr("engineroom.listening.LOOK_S", 60)


@in_a_loop
async def test_a_process_takes_what_comes_until_another_has_fewer_connections(patient):
    async with Some(share=2) as some:
        assert some.taken == 2


@in_a_loop
async def test_each_connection_is_counted_once():
    async with Some(share=3) as some:
        assert sorted(set(some.counted)) == [0, 1, 2, 3]


@in_a_loop
async def test_it_waits_for_longer_than_the_event_loop_of_another_sleeps():
    began = time.monotonic()
    async with Some(share=2) as some:
        while some.taken < 3:
            await asyncio.sleep(0.001)
    assert time.monotonic() - began > WAIT_S


@in_a_loop
async def test_where_there_is_no_other_all_that_come_together_are_taken_together():
    with contextlib.ExitStack() as opened, Turn() as turn:
        listening = opened.enter_context(listen("127.0.0.1", 0))
        listening.listen()
        for _ in range(20):
            opened.enter_context(connect(listening))
        taken_in = []

        def protocol():
            taken_in.append(turn.number)
            return asyncio.Protocol()

        Acceptor(listening, 100, protocol, [], lead=None)
        await asyncio.sleep(0.05)
    assert len(taken_in) == 20
    assert len(set(taken_in)) == 1


@on_linux
@in_a_loop
async def test_of_many_that_come_together_it_takes_its_share_at_once(patient):
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(listen("127.0.0.1", 0))
        listening.listen()
        for _ in range(20):
            opened.enter_context(connect(listening))
        assert waiting(listening) == 20
        connections = set()

        class Counted(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
                connections.add(self)

        Acceptor(listening, 100, Counted, connections, lead=lambda number: number)
        await asyncio.sleep(0.05)
        assert len(connections) == 10


@in_a_loop
async def test_it_takes_what_the_others_leave():
    async with Some(share=0) as some:
        assert some.taken == 3


@in_a_loop
async def test_it_goes_on_when_it_is_not_ahead_any_more(patient):
    async with Some(share=0) as some:
        some.share = 3
        some.acceptor.look()
        await asyncio.sleep(0.05)
        assert some.taken == 3


@in_a_loop
@pytest.mark.parametrize(("ended", "taken"), [(1, 1), (2, 2), (9, 3)])
async def test_where_many_end_it_is_not_exact(patient, ended, taken):
    async with Some(share=1) as some:
        for _ in range(ended):
            some.acceptor.on_lost()
        await asyncio.sleep(0.05)
        assert some.taken == taken


@in_a_loop
async def test_a_connection_that_ends_after_it_was_closed_changes_nothing(patient):
    async with Some(share=1) as some:
        some.acceptor.close()
        some.share = 3
        some.acceptor.look()
        await asyncio.sleep(0.05)
        assert some.taken == 1


@in_a_loop
async def test_too_many_open_files_are_said_and_do_not_end_it(monkeypatch, caplog):
    accept = Acceptor._accept

    def fail(_acceptor):
        monkeypatch.setattr(Acceptor, "_accept", accept)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Acceptor, "_accept", fail)
    monkeypatch.setattr("engineroom.listening.PAUSE_S", 0.01)
    async with Some(share=3) as some:
        assert some.taken == 3
    assert "no connection can be accepted for a second: [Errno 24] Too many" in caplog.text
