"""Writes the history of sources and followers, by tracers, callbacks and taps on their transports.

What is noted of a source comes from its machine and from the frames that leave it; of a follower,
what its user can read, and the frames that reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from amzmq.errors import (
    CallTimeout,
    DeliveryFailed,
    LimitExceeded,
    NotConnected,
    OutcomeUnknown,
    Refused,
    RpcError,
)
from amzmq.machine import Machine, Result, Tracer, Transition
from amzmq.net import Transport
from amzmq.rpc import Client, NetworkMachine, Payload
from amzmq.rpc.server.receipt import Receipt
from amzmq.wire.checksum import ClockSum
from amzmq.wire.control import CatchUp, Directed, SnapshotReply, Sync, Welcome
from amzmq.wire.control_frames import from_frame
from amzmq.wire.feed import STREAM_ID_SIZE, Heartbeat, PayloadFrame, parse_body
from tests.oracles.history import (
    Answered,
    Asked,
    AtRest,
    Beat,
    Began,
    Called,
    Caught,
    Changed,
    Clock,
    Fate,
    Fired,
    Follows,
    Gone,
    Happening,
    Heard,
    Met,
    Ran,
    Ready,
    Said,
    Saw,
    Sent,
    Sight,
    SourceAtRest,
    Took,
    Waits,
    Welcomed,
)
from tests.oracles.taps import TappedTransport

Note = Callable[[Happening], None]

CALL_ARG = "call"
"""The argument by which a mutation is recognised where it runs."""

KEY_ARG = "key"
"""The argument that waits look for."""


def clock_of(machine: Machine | NetworkMachine) -> Clock:
    """Everything that a machine, or a replica, shows."""
    time = tuple(machine.time())
    return Clock.of(machine.state_names, time, machine.queue_tick, machine.machine_tick)


class SourceRecorder:
    """Writes what one life of a source does.

    Args:
        note: Takes each happening.
        life: Names the life.
        machine: The source's machine.
    """

    def __init__(self, note: Note, life: str, machine: Machine) -> None:
        self.life = life
        self.machine = machine
        self._note = note
        self._epochs: set[str] = set()
        self._tracer = _SourceTracer(note, life)
        note(Changed(life, clock_of(machine)))
        machine.bind_tracer(self._tracer)

    def close(self) -> None:
        """The life has ended; its machine may still be there."""
        self.machine.detach_tracer(self._tracer.id)

    def tapped(self, transport: Transport) -> Transport:
        """A transport for a Mux of this life, which is listened to."""
        return TappedTransport(transport, published=self._published, answered=self._answered)

    def sent(self, follower: str, receipt: Receipt) -> None:
        """A payload was sent to one follower; its end is noted as well."""
        token = receipt.token.hex()
        self._note(Sent(self.life, follower, token))
        receipt._future.add_done_callback(
            lambda future: self._note(Fate(token, _was_taken(future.exception())))
        )

    def at_rest(self, epoch: str) -> None:
        """Everything is healed and quiet."""
        self._note(SourceAtRest(self.life, epoch, clock_of(self.machine)))

    def _published(self, frame: bytes) -> None:
        stream = frame[:STREAM_ID_SIZE].hex()
        message = parse_body(frame[STREAM_ID_SIZE:])
        if isinstance(message, Heartbeat):
            self._note(Beat(stream, message.number))
        else:
            token = message.token.hex() if isinstance(message, PayloadFrame) else ""
            self._note(Said(stream, message.number, token))

    def _answered(self, frame: bytes) -> None:
        message = from_frame(frame)
        if isinstance(message, Welcome) and message.epoch.hex() not in self._epochs:
            self._epochs.add(message.epoch.hex())
            self._note(Began(self.life, message.epoch.hex()))
        elif isinstance(message, Directed):
            # Noted as it leaves: it may be there before whoever sends it has the receipt.
            self._note(Sent(self.life, "", message.token.hex()))


def _was_taken(error: BaseException | None) -> bool:
    if error is not None and not isinstance(error, DeliveryFailed):
        raise error
    return error is None


class _SourceTracer(Tracer):
    id = "oracle"

    def __init__(self, note: Note, life: str) -> None:
        self._note = note
        self._life = life

    def transition_end(self, tx: Transition) -> None:
        if tx.is_check:
            return
        self._note(Changed(self._life, clock_of(tx.machine)))
        args = tx.mutation.args
        if (call := args.get(CALL_ARG)) is not None:
            self._note(Ran(self._life, str(call), tx.is_accepted))
        if (key := args.get(KEY_ARG)) is not None and tx.is_accepted:
            self._note(Fired(self._life, str(key)))

    def schema_change(self, machine: Any, old: object) -> None:
        self._note(Changed(self._life, clock_of(machine)))


class FollowerRecorder:
    """Writes what one client sees, from the making of its transport on.

    Args:
        note: Takes each happening.
        name: Names the follower; another one each time.
        sight: What it asks to see.
    """

    def __init__(self, note: Note, name: str, sight: Sight) -> None:
        self.name = name
        self.stream = ""
        self._note = note
        self._client: Client | None = None
        self._traced: NetworkMachine | None = None
        self._snapshots = 0
        self._epoch_told = ""
        self._last: Clock | None = None
        note(Follows(name, sight))

    def tapped(self, transport: Transport) -> Transport:
        """A transport for the client, which is listened to."""
        return TappedTransport(transport, asked=self._asked, told=self._told, fed=self._fed)

    def watch(self, client: Client) -> None:
        """Begin to note what the client shows."""
        self._client = client
        client.on_payload(self._took)
        client.mach.bind({"ReadyState": lambda e: self._ready()}, id="oracle")

    def gone(self) -> None:
        """The client was stopped: nothing is owed to it any more."""
        self._note(Gone(self.name))

    @property
    def client(self) -> Client:
        """The client."""
        assert self._client is not None
        return self._client

    @property
    def epoch(self) -> str:
        """That of the client's stream."""
        return self.client.epoch.hex()

    def at_rest(self) -> None:
        """Everything is healed and quiet."""
        client, counts = self.client, self.client.metrics()
        open_ns = counts["ns_sent"] - counts["ns_received"] + counts["ns_refused"]
        self._note(
            AtRest(
                self.name, self.epoch, self.stream, client.follower.number, self._clock(),
                counts["payloads_lost"], open_ns,
            )
        )  # fmt: skip

    # Calls and waits.

    async def call(self, call: str, kind: str, *states: str) -> str:
        """Call a mutation and wait for its end; how it ended."""
        self._note(Called(self.name, call, True))
        try:
            outcome = await self._outcome(call, kind, states)
        except asyncio.CancelledError:
            self._note(Answered(self.name, call, "unknown", self.epoch, None))
            raise
        # A client that is stopped has nothing to read any more.
        clock = None if self.client.mach.is_disposing else self._clock()
        self._note(Answered(self.name, call, outcome, self.epoch, clock))
        return outcome

    async def _outcome(self, call: str, kind: str, states: tuple[str, ...]) -> str:
        try:
            mutate = getattr(self.client.net_mach, kind)
            result = await mutate(*states, args={CALL_ARG: call})
        except (OutcomeUnknown, CallTimeout):
            return "unknown"
        except NotConnected as error:
            return "unknown" if "may have run" in str(error) else "unsent"
        except (Refused, LimitExceeded):
            return "refused"
        except RpcError:
            return "unknown"  # the client gave up its connection
        return "executed" if result == Result.EXECUTED else "canceled"

    def call_ns(self, call: str, *states: str) -> None:
        """A mutation without a reply, if it can be handed to the connection."""
        if self.client.net_mach.add_ns(*states, args={CALL_ARG: call}) == Result.EXECUTED:
            self._note(Called(self.name, call, False))

    def wait_for(self, state: str, key: str) -> None:
        """Wait for an activation of a state at the source."""
        self._note(Waits(self.name, key))
        wait = self.client.net_mach.when_args(state, key=key)
        wait.add_done_callback(lambda: self._met(key))

    def _met(self, key: str) -> None:
        if not self.client.mach.is_disposing:  # which ends all waits
            self._note(Met(self.name, key))

    # What the client shows.

    def _clock(self) -> Clock:
        net = self.client.net_mach
        told = set(net.tracked_states)
        pairs = zip(net.state_names, net.time(), strict=True)
        time = (tick if name in told else 0 for name, tick in pairs)
        return Clock.of(net.state_names, time, net.queue_tick, net.machine_tick)

    def _ready(self) -> None:
        number = self.client.follower.number
        self._note(Ready(self.name, self.epoch, self.stream, number))
        net = self.client.net_mach
        if net is not self._traced:
            self._traced = net
            net.bind_tracer(_ReplicaTracer(self))
        self.saw(True)

    def saw(self, whole: bool = False) -> None:
        """The replica shows another clock, or began to be watched."""
        follower, clock = self.client.follower, self._clock()
        if follower.stream_id.hex() != self.stream:
            # The replica is about to follow another stream; what others know of that may show.
            if clock != self._last:
                self._note(Saw(self.name, self._epoch_told, self.stream, 0, clock, True))
            self._last = clock
            return
        if follower.number < 0:
            return  # nothing is known of this stream yet: the replica shows what it did
        snapshots = follower.reader.counters.snapshots
        whole = whole or snapshots != self._snapshots
        self._snapshots = snapshots
        self._last = clock
        self._note(Saw(self.name, self.epoch, self.stream, follower.number, clock, whole))

    def _took(self, payload: Payload) -> None:
        self._note(Took(self.name, self.epoch, payload.token.hex(), self._clock()))

    # What reaches it.

    def _asked(self, frame: bytes) -> None:
        message = from_frame(frame)
        if isinstance(message, Sync):
            epoch = message.epoch.hex()
            self._note(Asked(self.name, message.request, epoch, message.number))

    def _told(self, frame: bytes) -> None:
        try:
            message = from_frame(frame)
        except RpcError:
            return  # the client counts it
        if isinstance(message, Welcome):
            self.stream = message.stream_id.hex()
            self._epoch_told = message.epoch.hex()
            self._note(Welcomed(self.name, self._epoch_told, self.stream))
        elif isinstance(message, SnapshotReply):
            self._note(Caught(self.name, message.request, True, message.number))
        elif isinstance(message, CatchUp):
            self._note(Caught(self.name, message.request, False, -1))

    def _fed(self, frame: bytes) -> None:
        if self._client is None or frame[:STREAM_ID_SIZE].hex() != self.stream:
            return
        try:
            message = parse_body(frame[STREAM_ID_SIZE:])
        except RpcError:
            return  # the client counts it
        follower = self._client.following.follower
        if isinstance(message, Heartbeat) and follower and follower.number == message.number:
            net, clock = self._client.net_mach, self._clock()
            ticks = dict(clock.ticks)
            own = ClockSum(net.state_names)
            own.reset(
                [ticks.get(name, 0) for name in net.state_names],
                clock.queue_tick,
                clock.machine_tick,
            )
            self._note(Heard(self.name, message.number, message.checksum, own.value))


class _ReplicaTracer(Tracer):
    def __init__(self, owner: FollowerRecorder) -> None:
        self.id = f"oracle-{owner.name}"
        self._owner = owner

    def transition_end(self, tx: object) -> None:
        self._owner.saw()
