"""One client's server: its conversation, its recent replies, the payloads meant for it alone.

The Mux makes one on Hello. Its machine (`ServerStates`) tells of the connection: RpcReady once
it serves, ClientConnected while the client is heard of, HandshakeDone after the first Sync,
Ready when all of these hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from amzmq.errors import (
    AmzmqError,
    CallTimeout,
    InvalidArgs,
    LimitExceeded,
    NoAccess,
    NotConnected,
    OutcomeUnknown,
    RemoteError,
)
from amzmq.machine import (
    EXCEPTION_ARGS,
    ExceptionArgs,
    Machine,
    MutationType,
    Result,
    Source,
)
from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.followed_streams import FollowedStreams
from amzmq.rpc.server.held_rights import HeldRights
from amzmq.rpc.server.limits import Guard
from amzmq.rpc.server.outbox import Outbox
from amzmq.rpc.server.receipt import Receipt
from amzmq.rpc.server.rights import MachineRights, mask_of
from amzmq.rpc.server.sync_desk import SyncDesk
from amzmq.rpc.server.watches import ServerWatches
from amzmq.states import ServerStates
from amzmq.wire.codec import Value
from amzmq.wire.control import (
    Ack,
    Bye,
    Message,
    Mutate,
    NsReport,
    Ping,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    Sync,
    Unwatch,
    Watch,
    Watched,
)
from amzmq.wire.writer import StreamWriter

_log = logging.getLogger("amzmq.server")

REPLY_BODIES = 64
"""Updates that a reply carries at most; a caller further behind waits for its stream."""

REPLY_BYTES = 8192
"""Their bytes together at most: what is larger comes by the stream as well, in a moment."""

REPLIES_KEPT = 1024
"""Results remembered for retries; more than a client has calls in flight."""


class ClientId(NamedTuple):
    """Who a client is: its name, and which incarnation of it."""

    name: str
    incarnation: bytes
    user: str = ""


class Declined(NamedTuple):
    """Why a mutation was not run, or nobody knows whether it was; kept for retries."""

    code: RefusalCode
    reason: str


_NO_STREAM = Declined(RefusalCode.MACHINE_UNKNOWN, "that stream is not followed here, or has ended")


class Server:
    """Serves one client.

    Args:
        client: Who it is.
        feed: Of the machine it follows.
        stream: The view of it that it follows.
        send: Sends a message to the client, or one that is encoded.
        answer_soon: Asks for `reply_all` at the end of this turn.
        parent: The Mux's machine.
        desk: Answers its questions for what it missed.
        guard: Knows how much of everything it may use.
        rights: Tells what the client may do with the machine, whose states may grow; None for
            everything.

    Attributes:
        mach: The state machine of this connection.
        followed: What the client follows besides the stream; only to read it.
        wants_news: Whether the client is to be told of machines that are served later.
        number: The newest message that the client said it had applied.
        last_seen: Loop time of its last message.
        payloads_failed: Payloads for everybody that the client could not make use of.
        ping_every: The heartbeats that it may let pass for each of its own.
        understood: The encodings of chunks that the client can read.
    """

    def __init__(
        self,
        client: ClientId,
        feed: Feed,
        stream: StreamWriter,
        send: Callable[[Message | bytes], None],
        answer_soon: Callable[[Server], None],
        parent: Machine,
        desk: SyncDesk,
        guard: Guard,
        rights: Callable[[], MachineRights] | None = None,
    ) -> None:
        self.client = client
        self._held = HeldRights(feed.source, rights)
        self.feed = feed
        self.stream = stream
        self.followed = FollowedStreams(guard)
        self._former = self.followed
        self.wants_news = False
        self.number = -1
        self.payloads_failed = 0
        self.ping_every = self._asked_every = 1
        self.understood: tuple[str, ...] = ()
        self._clock = asyncio.get_running_loop().time
        self.last_seen = self._clock()
        self.outbox = Outbox(client.name, send, self._clock, guard)
        self.watches = ServerWatches(feed, guard)
        self._guard = guard
        self._bucket = guard.bucket(self._clock)
        self.send_frame: Callable[[bytes], None] = send
        self._send = send
        self._desk = desk
        self._answer_soon = answer_soon
        self._results: OrderedDict[int, Result | Declined] = OrderedDict()
        self._running: set[int] = set()
        self._refusals = 0
        self._told = -1  # the newest message that a reply of this connection has carried
        self._waiting: list[tuple[Mutate, Result | Declined]] = []
        self._ns = NsReport(0, 0, 0, "")
        self._ns_told = self._ns
        self._successor: Server | None = None
        self.mach = Machine(
            ServerStates, id=f"rs-{client.name}", parent=parent, tags=["rpc-server"]
        )
        for state in ("Start", "RpcAccepting", "RpcReady", "ClientConnected", "Handshaking"):
            self.mach.add(state)

    @property
    def lag(self) -> int:
        """Messages between its streams' heads and what the client said it had applied."""
        own = self.stream.head - max(self.number, 0)
        return own + sum(followed.lag for followed in self.followed)

    def was_given(self, stream_id: bytes) -> bool:
        """Whether a stream is one of this client's."""
        return stream_id == self.stream.stream_id or self.followed.of(stream_id) is not None

    def take_over(self, older: Server) -> None:
        """The same client came back on another connection: go on where the older one was."""
        self._results = older._results
        self._running = older._running
        self._ns = older._ns
        self.outbox.take_over(older.outbox)
        if self.rights == older.rights:
            self.watches = older.watches
        else:  # what it may still wait for, it asks for again
            older.watches.close()
        if not self.may_receive_payloads:
            self.outbox.give_up("its user may not receive payloads any more")
        self._former = older.followed
        self.number = older.number
        self.payloads_failed = older.payloads_failed
        older._successor = self

    def close(self) -> None:
        """The client is gone for now, or the Mux stops."""
        self._desk.forget(self)
        self.watches.connect(None)
        self.mach.remove("ClientConnected", "HandshakeDone", "Handshaking")
        self.mach.dispose()

    def forget(self) -> None:
        """The client will not come back: what was kept for it is of no use."""
        self.watches.close()
        self.outbox.give_up()
        self.followed.clear()
        self._former.clear()
        self.leave_stream()

    def leave_stream(self) -> None:
        """It follows the stream no longer."""
        self.feed.leave(self.stream, self.client.user)

    # What the client says. The Mux has decoded it.

    def may_ask(self) -> bool:
        """Whether a question is answered; one too many is counted, and asked again by itself."""
        return self._guard.may_take(self._bucket)

    def check_rate(self) -> None:
        """Whether one more request is done.

        Raises:
            LimitExceeded: It is not.
        """
        if not self._guard.may_take(self._bucket):
            text = f"more requests of {self.client.name} than it may send"
            raise self._guard.error(
                "requests_per_second", text, f"wait {self._bucket.wait:.3g} s, then send less"
            )

    def sync(self, message: Sync) -> None:
        """Answer with what the client misses: from the journal, else a snapshot."""
        feed, stream = self.feed, self.stream
        if message.stream_id not in (b"", stream.stream_id):
            followed = self.followed.of(message.stream_id)
            if followed is None:
                self._refuse(message.request, _NO_STREAM)
                return
            feed, stream = followed.feed, followed.stream
        self.mach.add("MetricSync")
        feed.flush()
        self._report_ns()
        self._desk.answer(self, stream, message)
        if stream is self.stream and not self.mach.is_("HandshakeDone"):
            self.mach.add("HandshakeDone")
            if self._former is not self.followed:
                self._former.clear()  # what it still wants, it has asked for again by now
            self.outbox.resend()
            self.watches.connect(self._tell_watched)

    def _tell_watched(self, request: int) -> None:
        self._send(Watched(request, self.stream.head))

    def ping(self, message: Ping, every: int = 1) -> None:
        """The client lives, and says how far it is.

        Args:
            message: What it says.
            every: The heartbeats after which it is to say so again.
        """
        self.number = message.number
        self.payloads_failed = message.payloads_failed
        if message.others:
            self.followed.applied(message.others)
        self._report_ns()
        # It may not hear of this one, and then goes on as it was told before.
        self.ping_every = max(self._asked_every, every)
        self._asked_every = every
        self._send(Pong(self.stream.head, every))

    def ack(self, message: Ack) -> None:
        """Directed payloads have arrived."""
        self.outbox.acknowledge(message.ordinal, message.failed or ())

    def bye(self, reason: str) -> None:
        """Tell the client that this conversation ends as planned, and where its streams do."""
        streams = (self.stream, *(followed.stream for followed in self.followed))
        self._send(Bye(reason, [[stream.stream_id, stream.head] for stream in streams]))

    # Waits at the source.

    def watch(self, message: Watch) -> None:
        """The client waits for something that only the source can see."""
        try:
            self.check_rate()
            self._guard.check_args(message.args)
            states = self._names(message.called, message.number)
            self._check_read(states)
            self.watches.watch(message, states)
        except (InvalidArgs, LimitExceeded, NoAccess) as error:
            self._refuse(message.request, _refusal_of(error))

    def unwatch(self, message: Unwatch) -> None:
        """It waits no longer."""
        self.watches.unwatch(message.request)

    # Mutations.

    def mutate(self, message: Mutate) -> None:
        """Run a mutation; its reply goes out with `reply_all`, behind the diff of this turn.

        A request that was answered before is answered from memory (design decision 9).
        """
        request = message.request
        if request:
            known = self._results.get(request)
            if known is not None:
                if self.may_ask():  # a refusal would be a lie: it was done
                    self._reply(message, known)
                return
            if request in self._running:
                return  # its reply will come
        try:
            self._check_limits(message)
        except LimitExceeded as error:  # not remembered: it may be tried again
            self._tell(message, _refusal_of(error))
            return
        try:
            outcome = self._run(message, self._names(message.called, message.number))
        except (AmzmqError, ValueError) as error:
            self._conclude(message, _refusal_of(error))
            return
        if isinstance(outcome, Result):
            self._conclude(message, outcome)
            return
        self._running.add(request)
        outcome.add_done_callback(lambda future: self._arrived(message, future))

    def _check_limits(self, message: Mutate) -> None:
        self.check_rate()
        self._guard.check_args(message.args)
        if len(self._running) >= self._guard.limits.requests_in_flight:
            text = f"{len(self._running)} mutations without a result yet"
            raise self._guard.exceeded("requests_in_flight", text, "await some of them first")

    def _names(self, called: Sequence[int], number: int) -> tuple[str, ...]:
        """The machine's states of a client's indexes, as it counts them at message `number`."""
        names = self.stream.names_at(number)
        if called and not 0 <= min(called) <= max(called) < len(names):
            raise InvalidArgs(f"state indexes {list(called)} of {len(names)} states")
        return tuple([names[index] for index in called])

    def _run(self, message: Mutate, states: tuple[str, ...]) -> Result | asyncio.Future[Result]:
        source = self.feed.source
        if blocked := self.feed.blocked:
            raise NotConnected(blocked)
        if self._held.are_limited:
            self._check_rights(message.type, states)
        args = message.args
        event = _event(message.source)
        if args and EXCEPTION_ARGS in args:
            return self._add_error(states, dict(args), event)
        if message.type == MutationType.ADD:
            return source.add(*states, args=args, event=event)
        if message.type == MutationType.REMOVE:
            return source.remove(*states, args=args, event=event)
        if message.type == MutationType.SET:
            return source.set(*states, args=args, event=event)
        raise InvalidArgs(f"mutation type {message.type}; add is 0, remove 1, set 2")

    @property
    def rights(self) -> MachineRights | None:
        """What the client may do with the machine; None for everything."""
        return self._held.now

    @property
    def may_receive_payloads(self) -> bool:
        """Whether payloads, and the blobs they offer, are for the client."""
        return self.rights is None or self.rights.payload

    def _check_read(self, states: tuple[str, ...]) -> None:
        """Waits tell of what they wait for, so whoever waits has to have the right to read it."""
        rights, source = self.rights, self.feed.source
        if rights is None or (
            rights.readable and rights.may_read(mask_of(map(source.index, states)))
        ):
            return
        who = self.client.user or self.client.name
        raise NoAccess(f"{who} may not wait for {' '.join(states) or 'the queue'} of {source.id}")

    def _check_rights(self, type_: int, states: tuple[str, ...]) -> None:
        rights, source = self.rights, self.feed.source
        called = mask_of(map(source.index, states))
        # A kind that does not exist is told apart from one that is not allowed, by `_run`.
        if rights is None or type_ > MutationType.SET or rights.may_mutate(type_, called):
            return
        who = self.client.user or self.client.name
        raise NoAccess(f"{who} may not {MutationType(type_)} {' '.join(states)} of {source.id}")

    def _add_error(
        self, states: tuple[str, ...], args: dict[str, Value], event: Source | None
    ) -> Result | asyncio.Future[Result]:
        """An error that came through a replica: its text is all that travelled."""
        source = self.feed.source
        details = args.pop(EXCEPTION_ARGS)
        if not states or not isinstance(details, list) or len(details) < 3:
            raise InvalidArgs(f"error details {details!r}: [type, message, trace] expected")
        error = RemoteError(str(details[0]), str(details[1]))
        if not isinstance(source, Machine):
            return source.pass_err(states[0], error, str(details[2]), args, event)
        args[EXCEPTION_ARGS] = ExceptionArgs(error, str(details[2]))
        result = source.add_err_state(states[0], error, args=args, event=event)
        if source.has("ErrOnClient"):
            source.add("ErrOnClient")
        return result

    def _arrived(self, message: Mutate, future: asyncio.Future[Result]) -> None:
        """The machine served is a replica, and its own source has answered."""
        self._running.discard(message.request)
        outcome: Result | Declined
        if future.cancelled():
            outcome = Declined(RefusalCode.OUTCOME_UNKNOWN, "the relay gave up waiting")
        elif (error := future.exception()) is not None:
            outcome = _refusal_of(error)
        else:
            outcome = future.result()
        (self._successor or self)._conclude(message, outcome)

    def _conclude(self, message: Mutate, outcome: Result | Declined) -> None:
        if message.request:
            self._results[message.request] = outcome
            if len(self._results) > REPLIES_KEPT:
                self._results.popitem(last=False)
        self._tell(message, outcome)

    def _tell(self, message: Mutate, outcome: Result | Declined) -> None:
        if message.request:
            self._reply(message, outcome)
        else:
            self._count_ns(outcome)

    def _reply(self, message: Mutate, outcome: Result | Declined) -> None:
        self._waiting.append((message, outcome))
        self._answer_soon(self)

    def reply_all(self) -> None:
        """Answer the mutations of this turn, each with the updates its caller has not seen.

        What an earlier reply of this connection has carried is not sent again: replies arrive
        in order. With many calls in flight, each would else repeat what those before it said.
        """
        waiting, self._waiting = self._waiting, []
        head = self.stream.head
        for message, outcome in waiting:
            if isinstance(outcome, Declined):
                self._refuse(message.request, outcome)
                continue
            bodies = self._bodies_since(max(message.number, self._told))
            if bodies:
                self._told = head
                self._send(Reply(message.request, outcome, bodies))
            else:
                level = message.number >= head
                self._send(Reply(message.request, outcome, [], 0 if level else head))

    def _bodies_since(self, number: int) -> list[bytes]:
        """The messages after `number`, if they are few; the stream brings them anyway."""
        bodies = self.stream.since(number)
        if (
            bodies is None
            or len(bodies) > REPLY_BODIES
            or (len(bodies) > 1 and sum(map(len, bodies)) > REPLY_BYTES)
        ):
            return []
        return bodies

    def _count_ns(self, outcome: Result | Declined) -> None:
        received, canceled, refused, reason = self._ns
        if isinstance(outcome, Declined):
            self._guard.denied += outcome.code == RefusalCode.NO_ACCESS
            self._ns = NsReport(received + 1, canceled, refused + 1, outcome.reason)
        else:
            self._ns = NsReport(
                received + 1, canceled + (outcome == Result.CANCELED), refused, reason
            )

    def _report_ns(self) -> None:
        """Mutations without reply are reported in sum, when the client asks for anything."""
        if self._ns != self._ns_told:
            self._ns_told = self._ns
            self._send(self._ns)

    def send_payload(
        self,
        receipt: Receipt,
        data: Value,
        source_tx: str,
        blob: list[Value] | None = None,
        source: str = "",
    ) -> None:
        """Send a payload to this client alone, behind all changes made before it.

        It is kept until the client confirms it, and sent again after a reconnect.

        Raises:
            InvalidArgs: `data` has no form on the wire.
            LimitExceeded: The client leaves too many unconfirmed.
            NoAccess: Its user may not receive payloads.
        """
        if not self.may_receive_payloads:
            self._guard.denied += 1
            raise NoAccess(f"payload {receipt.name!r}: {self.client.name} may not receive any")
        self.feed.flush()
        self.outbox.post(receipt, self.stream.head, data, source_tx, blob, source)

    def _tell_refused(self, request: int, reason: str) -> None:
        # At 1, 2, 4, 8...: the log is not the client's to fill.
        self._refusals += 1
        if self._refusals & (self._refusals - 1) == 0:
            _log.warning(
                "[%s] refused request %d: %s (refused so far: %d)",
                self.mach.id, request, reason, self._refusals,
            )  # fmt: skip

    def _refuse(self, request: int, why: Declined) -> None:
        self._guard.denied += why.code == RefusalCode.NO_ACCESS
        self._tell_refused(request, why.reason)
        self._send(Refusal(request, why.code, why.reason))


def _refusal_of(error: BaseException) -> Declined:
    """What a client is told of an error; its kind survives the way."""
    if isinstance(error, NoAccess):
        return Declined(RefusalCode.NO_ACCESS, error.reason)
    if isinstance(error, LimitExceeded):
        return Declined(RefusalCode.LIMIT, error.reason)
    if isinstance(error, NotConnected):
        return Declined(RefusalCode.UNREACHABLE, str(error))
    if isinstance(error, (OutcomeUnknown, CallTimeout)):
        return Declined(RefusalCode.OUTCOME_UNKNOWN, str(error))
    return Declined(RefusalCode.BAD_REQUEST, str(error) or type(error).__name__)


def _event(source: list[Value] | None) -> Source | None:
    """Where a client's mutation came from, for tracing."""
    if source is None:
        return None
    if len(source) < 3 or type(source[2]) is not int:
        raise InvalidArgs(f"source {source!r}: [machine id, transition id, time sum] expected")
    return Source(str(source[0]), str(source[1]), source[2])
