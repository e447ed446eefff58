"""How patient a client is; the defaults are those of spec/arpc-api."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from amzmq.errors import InvalidArgs
from amzmq.rpc.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Timings of a client, in seconds.

    Attributes:
        call_timeout: For one call to be answered.
        call_retry: What follows when it is not.
        conn_timeout: For one connection to be established.
        conn_retry: What follows when it is not.
        hello_delay: Between Connected and the first Hello.
        disconn_cooldown: Between saying goodbye and closing.
        disconn_timeout: For the sockets to be closed.
        reconnect: Whether a lost connection is made again.
        offline_queue: How many mutations are kept while there is no connection.
    """

    call_timeout: float = 3.0
    call_retry: RetryPolicy = field(default_factory=RetryPolicy)
    conn_timeout: float = 3.0
    conn_retry: RetryPolicy = field(default_factory=RetryPolicy)
    hello_delay: float = 0.0
    disconn_cooldown: float = 0.01
    disconn_timeout: float = 3.0
    reconnect: bool = True
    offline_queue: int = 0


def state_names(option: str, names: Collection[str] | None) -> frozenset[str] | None:
    """The names given for an option.

    Raises:
        InvalidArgs: They are no list of names.
    """
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidArgs(f"{option}={names!r}: give a list of state names")
    return frozenset(names)
