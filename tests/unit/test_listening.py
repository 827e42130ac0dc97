"""The end of a socket that listens: what has begun is taken, and nothing more begins."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from engineroom.errors import SettingError
from engineroom.listening import begin_no_more, listen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux drops the packets")


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


def test_a_connection_that_was_not_accepted_yet_is_kept(listening):
    with connect(listening) as client:
        begin_no_more(listening)
        with listening.accept()[0] as accepted:
            client.sendall(b"a question")
            assert accepted.recv(100) == b"a question"
            accepted.sendall(b"an answer")
        assert client.recv(100) == b"an answer"


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
