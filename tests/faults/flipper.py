"""Bits that flip on their way through a meter.

TCP would find nearly all of them; this is what is left, or what an attacker does. A meter changes
no byte, so here is the one place that reaches into it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from amzmq.net.traffic import _Flow


@contextlib.contextmanager
def flipping(share: float) -> Iterator[None]:
    """While inside, all meters of this process spoil a share of what they pass on."""
    rng = random.Random(7)
    pass_on = _Flow._pass_on

    async def spoil(self: _Flow, data: bytes) -> None:
        if data and rng.random() < share:
            spoiled = bytearray(data)
            spoiled[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            data = bytes(spoiled)
        await pass_on(self, data)

    _Flow._pass_on = spoil  # type: ignore[method-assign]
    try:
        yield
    finally:
        _Flow._pass_on = pass_on  # type: ignore[method-assign]
