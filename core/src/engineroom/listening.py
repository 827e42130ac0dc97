"""The socket that a server listens on, from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import Callable

from engineroom.errors import SettingError

log = logging.getLogger("engineroom")

YIELD_S = 0.001
"""How long a process that has more connections than another leaves it the next."""
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


class Acceptor:
    """Accepts on a socket on which other processes do so too, and leaves each its share.

    The first to wake would take all that wait: on two cores, both of two connections three times in
    eight, and one core idle as long as they last.
    """

    def __init__(
        self,
        listening: socket.socket,
        backlog: int,
        protocol: Callable[[], asyncio.Protocol],
        is_ahead: Callable[[], bool],
    ) -> None:
        """``is_ahead()``: whether another process has fewer connections than this one."""
        self._listening, self._protocol, self._is_ahead = listening, protocol, is_ahead
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self.coming: set[asyncio.Task[object]] = set()
        """Accepted, and not yet among the server's connections."""
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

    def look(self) -> None:
        """A connection has ended here: perhaps there is nobody to wait for any more."""
        if not self._is_ahead() and self._rest is not None:
            self._rest.cancel()
            self._go_on()

    def _take(self, at_least: int = 0) -> None:
        """Take this process's share of those that wait."""
        try:
            while at_least > 0 or not self._is_ahead():
                self._accept()
                at_least -= 1
            self._pause(YIELD_S)
        except (BlockingIOError, ConnectionAbortedError):
            pass  # that was the last; or its client has left already
        except OSError as error:
            log.error("no connection can be accepted for a second: %s", error)
            self._pause(PAUSE_S)

    def _accept(self) -> None:
        accepted, _ = self._listening.accept()
        made = self._loop.connect_accepted_socket(self._protocol, accepted)
        task = self._loop.create_task(made)
        self.coming.add(task)
        task.add_done_callback(self.coming.discard)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        # Then one is taken in any case: no other process has wanted it.
        self._rest = self._loop.call_later(seconds, self._go_on, 1)

    def _go_on(self, at_least: int = 0) -> None:
        self._rest = None
        self._loop.add_reader(self._listening, self._take)
        self._take(at_least)
