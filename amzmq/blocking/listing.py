"""Asking a Mux what it serves, without a client."""

from __future__ import annotations

from amzmq.blocking.line import Line
from amzmq.net import Transport
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.listing import list_machines as _list_machines


def list_machines(
    addr: str, timeout: float = 3.0, transport: Transport | None = None
) -> list[MachineInfo]:
    """Ask a Mux which machines it serves; the first one is the default.

    Args:
        addr: The Mux's address.
        timeout: Seconds to wait for the answer.
        transport: What carries the frames; ZeroMQ by default.

    Raises:
        NotConnected: Nobody answers there in time.
        FrameInvalid: What answers is no Mux.
        BlockingWait: This thread runs an event loop.
    """
    line = Line(f"list_machines({addr!r})", _nothing)
    try:
        line.open()
        return line.run("the question", lambda: _list_machines(addr, timeout, transport))
    finally:
        line.close()


async def _nothing() -> None:
    """There is nobody to say goodbye to."""
