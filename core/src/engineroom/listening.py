"""The socket that a server listens on, from its beginning to its end."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys

from engineroom.errors import SettingError

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
