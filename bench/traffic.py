"""Bytes on the wire, as the kernel counts them for each TCP connection.

What a program hands over is less: the transport's own frames, greetings and heartbeats travel
as well. Linux only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple, Self

from bench.report import BenchError

# Two counters of struct tcp_info. Another one, tcpi_bytes_acked, would count SYN as well.
_RECEIVED_AT, _SENT_AT, _LENGTH = 128, 200, 208
_COUNTER = struct.Struct("=Q")
_LOOK_S, _LOOKS = 0.01, 500


class Traffic(NamedTuple):
    """Bytes of TCP payload."""

    sent: int
    received: int

    def __sub__(self, before: Self) -> Traffic:
        return Traffic(self.sent - before.sent, self.received - before.received)

    @property
    def total(self) -> int:
        """Both ways."""
        return self.sent + self.received


def of_process(peer_ports: Collection[int] = ()) -> Traffic:
    """What this process's open connections carried so far.

    Args:
        peer_ports: Only connections to these ports; all when empty. With both ends in one
            process, the server's ports choose the client's ends.
    """
    found = [
        _counters(sock)
        for sock in _connections()
        if not peer_ports or sock.getpeername()[1] in peer_ports
    ]
    return Traffic(sum(sent for sent, _ in found), sum(received for _, received in found))


async def settled(peer_ports: Collection[int] = ()) -> Traffic:
    """The same once nothing moves any more; the kernel tells nobody, so look again and again.

    Raises:
        BenchError: It never rests.
    """
    before, calm = of_process(peer_ports), 0
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK_S)
        now = of_process(peer_ports)
        calm = calm + 1 if now == before else 0
        if calm == 3:
            return now
        before = now
    raise BenchError(f"the connections did not rest within {_LOOKS * _LOOK_S:.0f} s")


def _connections() -> Iterator[socket.socket]:
    for name in os.listdir("/proc/self/fd"):
        if (sock := _socket_of(int(name))) is None:
            continue
        with sock:
            if _is_connected(sock):
                yield sock


def _socket_of(fd: int) -> socket.socket | None:
    """A second handle of a socket; None if the descriptor is something else."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        return socket.socket(fileno=os.dup(fd))
    except OSError:
        return None  # closed since it was listed


def _is_connected(sock: socket.socket) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        return False
    try:
        return bool(sock.getpeername())
    except OSError:
        return False  # it listens, or the other end is gone


def _counters(sock: socket.socket) -> tuple[int, int]:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    if len(info) < _LENGTH:
        raise BenchError("this kernel does not count bytes; Linux 4.19 and newer do")
    sent: int = _COUNTER.unpack_from(info, _SENT_AT)[0]
    received: int = _COUNTER.unpack_from(info, _RECEIVED_AT)[0]
    return sent, received
