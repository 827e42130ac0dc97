"""The socket that a server listens on, from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import Callable, Collection

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engineroom.errors import SettingError

log = logging.getLogger("engineroom")

LOOK_S = 0.001
"""How often a process that has more connections than another looks whether it still has."""
YIELDS = 12
"""So many looks it leaves the next to the other, whose event loop sleeps for ``turns.WAIT_S`` at
most; after that one is taken at each look: who sleeps longer has not wanted it."""
PAUSE_S = 1.0
"""After an ``accept`` that failed, as it does when too many files are open."""
SO_ATTACH_FILTER = 26
"""Linux's number, which Python's ``socket`` does not name."""
# Classic BPF: each instruction is (code, steps if true, steps if false, operand).
NO_SYN = [
    (0x30, 0, 0, 13),  # load the byte of the TCP header that holds its flags
    (0x45, 0, 1, 0x02),  # is it a SYN, the first packet of a connection?
    (0x06, 0, 0, 0),  # then drop it,
    (0x06, 0, 0, 0xFFFFFFFF),  # else keep all of it
]


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. uvicorn listens on it.

    Raises:
        SettingError: the address is taken, or not one of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # With its protocol named, asyncio sets TCP_NODELAY on what it accepts.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise SettingError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port"
        ) from None
    listening.set_inheritable(True)
    return listening


def begin_no_more(listening: socket.socket) -> None:
    """Let no connection begin here, in no process; those that have begun can be accepted still.

    Between the last ``accept`` and ``close`` the system would make connections and then reset them.
    A client whose first packet is dropped sends it again after a second, and is refused then.
    Linux only (socket(7), SO_ATTACH_FILTER); elsewhere the gap stays.
    """
    if sys.platform != "linux" or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in NO_SYN)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(NO_SYN), ctypes.addressof(held))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def waiting(listening: socket.socket) -> int:
    """How many connections wait here to be accepted, as ``ss`` shows in Recv-Q; 0 if unknown.

    Linux only: of a socket that listens, ``tcpi_unacked`` is that number.
    """
    if sys.platform != "linux" or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    return int(struct.unpack_from("=I", info, 24)[0])


class Acceptor:
    """Accepts whatever waits on a socket, and leaves other processes on it their share.

    uvloop's own accepts one connection in each turn of the loop (libuv since 1.46), and the last of
    many that come together would wait for as many turns, in each of which the first are answered.

    Of several processes the first to wake would take all that wait: on two cores, both of two
    connections three times in eight, and one core idle as long as they last.
    """

    def __init__(
        self,
        listening: socket.socket,
        backlog: int,
        protocol: Callable[[], HttpToolsProtocol],
        connections: Collection[object],
        lead: Callable[[int], int] | None,
        others: int = 1,
    ) -> None:
        """``connections``: where each ``protocol()`` is from its ``connection_made`` to its end;
        ``lead(number)``: how many another process has less than this one, which has ``number``;
        None where there is no other, else there are so many ``others``.
        """
        self._listening, self._protocol, self._others = listening, protocol, others
        self._connections, self._lead = connections, lead
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.Handle | None = None
        self._yielded = self._ended = 0
        self._coming: dict[asyncio.Task[object], HttpToolsProtocol] = {}
        listening.setblocking(False)
        listening.listen(backlog)
        self._loop.add_reader(listening, self._take)

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listening)
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._listening.close()

    def on_lost(self) -> None:
        """A connection has ended here."""
        self._ended += self._rest is not None
        self.look()

    def look(self) -> None:
        """Perhaps there is nobody to wait for any more."""
        if not self._is_ahead() and self._rest is not None:
            self._rest.cancel()  # and not at once: others may end too
            self._rest = self._loop.call_soon(self._go_on)

    def _is_ahead(self) -> bool:
        if self._lead is None:
            return False
        coming = sum(each.transport is None for each in self._coming.values())
        lead = self._lead(len(self._connections) + coming)
        # Where clients close and come again all the time, to be exact costs a fifth of the speed.
        if lead <= self._ended // 2:
            return False
        # Nor is it ahead if enough wait for the others to draw level once it has taken one more.
        return (lead + 1) * self._others >= waiting(self._listening)

    def _take(self) -> None:
        """Take this process's share of those that wait."""
        try:
            while not self._is_ahead():
                self._accept()
                self._yielded = 0
            if self._yielded == YIELDS:
                self._accept()
            else:
                self._yielded += 1
            self._pause(LOOK_S)
        except (BlockingIOError, ConnectionAbortedError):
            self._yielded = self._ended = 0  # that was the last; or its client has left already
        except OSError as error:
            log.error("no connection can be accepted for a second: %s", error)
            self._pause(PAUSE_S)

    def _accept(self) -> None:
        accepted, _ = self._listening.accept()
        protocol = self._protocol()
        made = self._loop.connect_accepted_socket(lambda: protocol, accepted)
        task = self._loop.create_task(made)
        self._coming[task] = protocol
        task.add_done_callback(self._coming.pop)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._rest = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listening, self._take)
        self._take()
