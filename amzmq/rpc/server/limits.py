"""How much a Mux takes from its clients, all in one place, and what happens beyond that.

What exceeds a limit is refused with `LimitExceeded`, which names the limit, the value and the
remedy; it is counted in `Mux.metrics()` as ``over_<limit>``; nobody else notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import inf

from amzmq.errors import InvalidArgs, LimitExceeded
from amzmq.rpc.pacing import TokenBucket
from amzmq.wire.codec import Value, encode
from amzmq.wire.journal import JournalLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clients of a Mux may use, each of them unless it says otherwise.

    Attributes:
        request_bytes: Bytes of a message from a client.
        stranger_bytes: Bytes of a message from a connection that is no client yet.
        clients: Clients at the same time.
        admins: Clients beyond that, of users whose rights say ``admin``.
        hellos_waiting: Connections that said Hello and were not answered yet. Those beyond say
            it again later.
        requests_per_second: Requests of a client, on average; 0 for any number. Mutations, waits
            and further machines are refused beyond it; questions are not answered, and asked
            again by themselves.
        requests_burst: Requests at once, after a quiet time.
        requests_in_flight: Mutations of a client that have no result yet.
        watches: Waits at the source of a client.
        followed: Machines that a client follows besides that of its Hello.
        views: Different views of a machine that a user follows, besides everything; of who proves
            a key. All users together have 256 of each machine.
        outbox: Payloads for a client alone that it has not confirmed.
        journal: What is kept for those who missed something, of each stream.
        payload_bytes: Bytes of the data of a payload; a frame's limit counts as well.
        handshake: Seconds for the handshake of a connection, before Hello; for a transport that
            the Mux makes itself.
        name_bytes: Bytes of the names that a client says: of itself, machines, arguments; and of
            payloads.
        args: Arguments of a mutation or a wait.
        args_depth: Lists and dicts within each other in an argument.

    Raises:
        InvalidArgs: One of them is no number, or none that it may be.
    """

    # NATS has the same max_payload.
    request_bytes: int = 1024 * 1024
    # RabbitMQ reads frames of at most 8 KiB (initial_frame_max) of whom it does not know yet; a
    # Hello may name a thousand states.
    stranger_bytes: int = 64 * 1024
    # Redis has the same maxclients. More than that is the work of relays.
    clients: int = 10_000
    # PostgreSQL keeps as many (superuser_reserved_connections), to see what the others do.
    admins: int = 3
    # sshd's MaxStartups begins to drop at 10, of people. Here a whole fleet comes back at once
    # when its source was restarted.
    hellos_waiting: int = 10_000
    # nginx's limit_req is a bucket as well, of what its operator names. One client gets 30,000
    # answers a second of a source with nothing else to do (docs/benchmarks.md), so calls never
    # meet this; a flood of mutations without reply does.
    requests_per_second: float = 50_000.0
    requests_burst: float = 50_000.0
    # nginx's http2_max_concurrent_streams is 128, of browsers. So many results are remembered
    # for retries: with more in flight, a mutation could run twice.
    requests_in_flight: int = 1024
    # inotify allows 128 instances a user, and 8,192 watches of old.
    watches: int = 1024
    followed: int = 1024
    # inotify's max_user_instances counts by user as well: 128, for a whole host. Eight users have
    # to join to take all views of a machine.
    views: int = 32
    # Mosquitto's max_queued_messages is 1,000.
    outbox: int = 1024
    # Redis keeps 1 MiB (repl-backlog-size) for all its replicas; see there.
    journal: JournalLimits = field(default_factory=JournalLimits)
    # gRPC limits a message to 4 MiB as well.
    payload_bytes: int = 4 * 1024 * 1024
    # libzmq allows 30 s, nginx's client_header_timeout 60 s, sshd's LoginGraceTime 120 s: of
    # people, or over the world.
    handshake: float = 3.0
    # POSIX's NAME_MAX, and the short strings of AMQP.
    name_bytes: int = 255
    # PHP's max_input_vars.
    args: int = 1000
    # System.Text.Json's MaxDepth.
    args_depth: int = 64

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.name != "journal"):
            value = getattr(self, name)
            least, most = _LEAST.get(name, 1), _MOST.get(name, inf)
            is_number = type(value) in (int, float)
            if not is_number or not least <= value <= most or value == inf:
                upto = "" if most == inf else f" to {most}"
                raise InvalidArgs(f"Limits: {name}={value!r}; a number from {least}{upto} expected")


_LEAST = {"admins": 0, "requests_per_second": 0, "handshake": 0.001}
_MOST = {"handshake": 86_400}  # in ms, libzmq has 31 bits for it
_NOT_COUNTED = ("handshake",)  # the transport does: `HandshakeCounts`


class Guard:
    """Holds a Mux's clients to its limits, and counts what was refused.

    Args:
        limits: The limits.

    Attributes:
        limits: As given.
        denied: Requests refused because the client may not.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.denied = 0
        self._over = {each.name: 0 for each in fields(Limits) if each.name not in _NOT_COUNTED}

    def exceeded(self, limit: str, what: str, remedy: str) -> LimitExceeded:
        """Count a limit that was exceeded; the error for it.

        Args:
            limit: The name of the limit.
            what: What exceeds it, with its value.
            remedy: What to do about it, besides raising the limit.
        """
        self.count(limit)
        return self.error(limit, what, remedy)

    def error(self, limit: str, what: str, remedy: str) -> LimitExceeded:
        """The error for a limit whose excess is counted already; as `exceeded`."""
        value = getattr(self.limits, limit)
        return LimitExceeded(f"{what}; {limit}={value} at this source: {remedy}")

    def count(self, limit: str) -> None:
        """Count a limit that was exceeded, where nobody can be told."""
        self._over[limit] += 1

    def may_take(self, bucket: TokenBucket) -> bool:
        """Whether one more request is done; one too many is counted.

        What is beyond the burst is beyond the rate as well; of bursts each is counted once, until
        the bucket is full again.
        """
        if bucket.take():
            return True
        self.count("requests_per_second")
        self._over["requests_burst"] += bucket.refused == 1
        return False

    def metrics(self) -> dict[str, int]:
        """All counters, as `Mux.metrics()` has them."""
        over = {f"over_{name}": count for name, count in self._over.items()}
        return {"denied": self.denied, **over}

    def bucket(self, clock: Callable[[], float]) -> TokenBucket:
        """Of the requests of one client."""
        limits = self.limits
        if not limits.requests_per_second:
            return TokenBucket(1.0, float("inf"), clock)
        return TokenBucket(limits.requests_per_second, limits.requests_burst, clock)

    def check_name(self, what: str, name: str | bytes) -> None:
        """Whether a name is short enough.

        Raises:
            LimitExceeded: It is not.
        """
        most = self.limits.name_bytes
        if len(name) * 4 <= most:
            return  # a character has four bytes at most
        size = len(name) if isinstance(name, bytes) else len(name.encode("utf-8", "replace"))
        if size > most:
            raise self.exceeded("name_bytes", f"{what} of {size} bytes", "use a shorter name")

    def check_args(self, args: Mapping[str, Value] | None) -> None:
        """Whether arguments are few, their names short, and they are not nested too deep.

        Raises:
            LimitExceeded: One of these is not so.
        """
        if not args:
            return
        if len(args) > self.limits.args:
            raise self.exceeded("args", f"{len(args)} arguments", "put them into one dict")
        for name, value in args.items():
            self.check_name("an argument's name", name)
            if isinstance(value, list | dict) and is_deeper(value, self.limits.args_depth):
                text = f"argument {name!r} is nested deeper than {self.limits.args_depth} levels"
                raise self.exceeded("args_depth", text, "flatten it")

    def check_payload(self, name: str, data: Value, frame_limit: int) -> None:
        """Whether a payload may be sent.

        Raises:
            LimitExceeded: Its data is too large.
            InvalidArgs: It has no form on the wire.
        """
        if self.limits.payload_bytes >= frame_limit:
            return  # it is told when its frame is made
        size = len(encode(data))
        if size > self.limits.payload_bytes:
            text = f"payload {name!r} of {size} bytes"
            raise self.exceeded("payload_bytes", text, "send less at once, or send_blob()")


def is_deeper(value: Value, levels: int) -> bool:
    """Whether more lists and dicts than so many are within each other.

    Args:
        value: What holds them.
        levels: As many as are allowed.
    """
    level: list[Value] = [value]
    for _ in range(levels):
        inner: list[Value] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = [item for item in inner if isinstance(item, list | dict)]
        if not level:
            return False
    return isinstance(value, dict | list)
