"""Who uses a transport: it may be given to several, and the last of them closes it."""

from __future__ import annotations

from typing import TypeVar

from amzmq.net.transport import Publisher, Router, Transport

_T = TypeVar("_T", bound=Transport)

# By identity: a transport of somebody else's making need not be hashable, or weakly referable.
_held: dict[int, tuple[Transport, int]] = {}


def hold(transport: _T) -> _T:
    """Use a transport from now on, until `release`; returns it."""
    _, users = _held.get(id(transport), (transport, 0))
    _held[id(transport)] = transport, users + 1
    return transport


async def release(transport: Transport) -> None:
    """Use it no longer; the last of its users closes it, and waits until that is done.

    Whoever leaves has closed the sockets of its own before.
    """
    _, users = _held.pop(id(transport))
    if users > 1:
        _held[id(transport)] = transport, users - 1
        return
    await transport.close()


async def unbind(*sockets: Router | Publisher | None) -> None:
    """Close sockets that were bound, once their addresses are free for others."""
    bound = [socket for socket in sockets if socket is not None]
    try:
        for socket in bound:
            await socket.let_go()
    finally:
        for socket in bound:
            socket.close()
