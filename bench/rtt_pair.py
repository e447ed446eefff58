"""One process of the pair between which calls and echoes go, each system in its turn."""

from __future__ import annotations

from bench.channel import Channel
from bench.child import play_role


def play(channel: Channel) -> None:
    """Play the roles that the parent orders, one behind the other, until it orders the end."""
    while "role" in (order := channel.receive()):
        play_role(order["role"], channel, order["params"])
