"""The client: a conversation with a source, and the replica that comes of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType

from amzmq.errors import (
    AmzmqError,
    CallTimeout,
    ConnectFailed,
    FrameInvalid,
    InvalidArgs,
    LimitExceeded,
    NotConnected,
    RpcError,
    SchemaMismatch,
)
from amzmq.machine import Machine, MutationType, Result, Schema, States, Time, Wait
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.machine.event import HasSource
from amzmq.machine.schema import definitions_of
from amzmq.net import Transport, ZmqTransport
from amzmq.rpc.calls import Calls, refusal
from amzmq.rpc.connection import Connection
from amzmq.rpc.deliveries import Deliveries
from amzmq.rpc.follower import Follower, follower_of
from amzmq.rpc.listing import MachineInfo, machines_of
from amzmq.rpc.netmach import NetworkMachine
from amzmq.rpc.options import ClientOptions
from amzmq.rpc.payload import QUEUE_LIMIT, Payload, PayloadIterator
from amzmq.rpc.retry import RetryPolicy
from amzmq.rpc.watches import Watches
from amzmq.states import ClientStates, ConsumerStates
from amzmq.wire.control import (
    PROTOCOL_VERSION,
    Ack,
    Bye,
    CatchUp,
    Directed,
    Hello,
    List,
    Listing,
    Message,
    Mutate,
    NsReport,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    SnapshotReply,
    Sync,
    Watched,
    WatchKind,
    Welcome,
    from_frame,
)
from amzmq.wire.feed import PayloadFrame
from amzmq.wire.schema import schema_from_value, schema_hash
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.client")


class Client:
    """Follows one machine.

    Args:
        addr: The Mux's address, or several that are tried in turn.
        name: Names the client, ``rc-<name>``; random when empty.
        machine: Id of the machine, if the Mux serves several; its default one when empty.
        schema: The source's schema, if known: it need not be sent then. A source that lacks
            some of its states is refused.
        consumer: A machine with the `ConsumerStates`; gets WorkerPayload for each payload.
        parent: The machine the client's own one belongs to.
        no_schema: Follow the states alone, without their relations.
        allowed_states: Follow only these states.
        skipped_states: Do not follow these.
        sync_mutations: An update for every mutation of the source, not merged ones.
        sync_shallow_clocks: Only whether states are active: ticks are 0 and 1. Not together
            with `sync_mutations`, which wins.
        mutation_filtering: Answer a mutation CANCELED here if the relations leave it no chance.
        call_timeout: Seconds for one call to be answered.
        call_retries: Tries after the first, with the same request.
        call_retry_delay: Seconds before the first of them; doubles.
        call_retry_backoff: Cap of that, in seconds.
        call_retry_timeout: Seconds after which no further try begins.
        conn_timeout: Seconds for one connection to be established.
        conn_retries: Tries after the first.
        conn_retry_delay: Seconds before the first of them; doubles.
        conn_retry_backoff: Cap of that, in seconds.
        conn_retry_timeout: Seconds after which no further try begins.
        hello_delay: Seconds between Connected and the first Hello.
        disconn_cooldown: Seconds between saying goodbye and closing.
        disconn_timeout: Seconds for the sockets to be closed.
        reconnect: Whether a lost connection is made again.
        offline_queue: How many mutations are kept while there is no connection; with 0 they
            raise `NotConnected` at once.
        transport: What carries the frames; ZeroMQ by default.

    Attributes:
        mach: The client's own state machine (`ClientStates`).
        view: What of the machine is followed.
        epoch: Of the source.
        resumed: Whether the source remembers this client from before.
        heartbeat: Seconds between heartbeats, as the source wants it.
        ns: What became of the mutations without reply (`NetworkMachine.add_ns`), as far as the
            source has reported; `sync` brings it up to date.

    >>> async def follow(addr: str) -> None:
    ...     async with Client(addr, name="reader") as client:
    ...         await client.net_mach.add("Start")
    ...         print(client.net_mach)
    """

    kind = "client"

    def __init__(
        self,
        addr: str | Sequence[str],
        name: str = "",
        *,
        machine: str = "",
        schema: Schema | type[States] | None = None,
        consumer: Machine | None = None,
        parent: Machine | None = None,
        no_schema: bool = False,
        allowed_states: Collection[str] | None = None,
        skipped_states: Collection[str] | None = None,
        sync_mutations: bool = False,
        sync_shallow_clocks: bool = False,
        mutation_filtering: bool = False,
        call_timeout: float = 3.0,
        call_retries: int = 15,
        call_retry_delay: float = 0.1,
        call_retry_backoff: float = 3.0,
        call_retry_timeout: float = 60.0,
        conn_timeout: float = 3.0,
        conn_retries: int = 15,
        conn_retry_delay: float = 0.1,
        conn_retry_backoff: float = 3.0,
        conn_retry_timeout: float = 60.0,
        hello_delay: float = 0.0,
        disconn_cooldown: float = 0.01,
        disconn_timeout: float = 3.0,
        reconnect: bool = True,
        offline_queue: int = 0,
        transport: Transport | None = None,
    ) -> None:
        self._addrs = (addr,) if isinstance(addr, str) else tuple(addr)
        self._at = 0  # which of them
        if not self._addrs or not all(self._addrs):
            raise NotConnected("addr is empty; give the Mux's address, e.g. 'tcp://127.0.0.1:7701'")
        if consumer is not None and not consumer.has(*ConsumerStates.names()):
            raise RpcError(
                f"consumer {consumer.id} lacks states of ConsumerStates: "
                f"{' '.join(ConsumerStates.names())}"
            )
        self.view = View(
            not no_schema,
            _state_names("allowed_states", allowed_states),
            _state_names("skipped_states", skipped_states) or frozenset(),
            sync_shallow_clocks,
            sync_mutations,
        )
        if mutation_filtering and (no_schema or self.view.is_partial):
            raise InvalidArgs(
                "mutation_filtering needs the relations of all states: leave out no_schema, "
                "allowed_states and skipped_states, or the filtering"
            )
        self.consumer = consumer
        self.options = ClientOptions(
            call_timeout,
            RetryPolicy(call_retries, call_retry_delay, call_retry_backoff, call_retry_timeout),
            conn_timeout,
            RetryPolicy(conn_retries, conn_retry_delay, conn_retry_backoff, conn_retry_timeout),
            hello_delay,
            disconn_cooldown,
            disconn_timeout,
            reconnect,
            offline_queue,
        )
        self.mach = Machine(
            ClientStates,
            id=client_id(name or secrets.token_hex(3)),
            parent=parent,
            tags=["rpc-client", f"addr:{self.addr}"],
            # Its handlers open and close sockets; on a busy host that may take a while, and
            # undoing a state for it would leave the connection half made.
            handler_timeout=10.0,
        )
        self.epoch = b""
        self.resumed = False
        self.heartbeat = 1.0
        self.ns = NsReport(0, 0, 0, "")
        self._machine_id = machine
        self._filters = mutation_filtering
        self._schema: CompiledSchema | None = None
        if schema is not None:
            self._schema = compile_schema(definitions_of(schema))
        self._given_transport = transport
        self._transport: Transport | None = None
        self._incarnation = secrets.token_bytes(8)
        self._net: NetworkMachine | None = None
        self._follower: Follower | None = None
        self._former: list[Follower] = []
        self._past: Counter[str] = Counter()
        self._joined: dict[str, int] = {}
        self._calls: Calls | None = None
        self._watches: Watches | None = None
        self._connection: Connection | None = None
        self._deliveries = Deliveries(self.mach.id, consumer, self._number, self._arrived)
        self._listings: dict[int, asyncio.Future[Listing]] = {}
        self._last_listing = 0
        self._last_heard = 0.0
        self._ns_sent = 0
        self._ns_lost = 0
        self._garbage = 0

    # Life.

    def start(self) -> Result:
        """Begin to connect; Ready in `mach` tells of the success."""
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        if self._connection is None:
            self._transport = self._given_transport or ZmqTransport()
            self._calls = Calls(
                self._send,
                self._number,
                self.options.call_retry,
                self.options.call_timeout,
                self._retrying,
                self._gave_up_call,
            )
            self._watches = Watches(self._send, self._number)
            self._connection = Connection(self)
            self.mach.bind(self._connection, id="connection")
        assert self._connection is not None
        if self.mach.is_("Start"):
            return Result.EXECUTED
        self._connection.begin()
        return self.mach.add("Start", "Connecting")

    def _retrying(self, on: bool) -> None:
        if on:
            self.mach.add("RetryingCall")
        else:
            self.mach.remove("RetryingCall")

    def _gave_up_call(self, error: CallTimeout) -> None:
        self.mach.add_err_state("CallRetryFailed", error)

    async def ready(self) -> None:
        """Wait until the replica is level with the source for the first time.

        Raises:
            ConnectFailed: It cannot be; the message says what was tried.
            Refused: The source does not want this client.
        """
        ready, failed = self.mach.when("Ready"), self.mach.when("ConnRetryFailed")
        tasks = [asyncio.ensure_future(_wait(wait)) for wait in (ready, failed)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self.mach.is_("Ready"):
            return
        raise self._why_not()

    def _why_not(self) -> RpcError:
        assert self._connection is not None
        if self._connection.failure is not None:
            return self._connection.failure
        last = self.mach.err()
        return ConnectFailed(
            f"no source at {self.addr}: gave up after {self._connection.attempts} attempts of "
            f"{self.options.conn_timeout:g} s each; the last one: {last}. Is a Mux serving there?"
        )

    async def stop(self) -> None:
        """Say goodbye, close the connection, let go of the replica."""
        self._deliveries.end()
        if self._calls is not None:
            self._calls.end(NotConnected("the client was stopped; the call may have run"))
        if self.mach.is_("Connected"):
            self.mach.add("Disconnecting")
            await self.mach.when_not("Disconnecting")
        self.mach.dispose()
        await self.mach.when_disposed()
        if self._watches is not None:
            self._watches.end()
        for listing in self._listings.values():
            listing.cancel()
        if self._net is not None:
            self._net.dispose()
            await self._net.when_disposed()
        self._leave()
        try:
            async with asyncio.timeout(self.options.disconn_timeout):
                await self._close()
        except TimeoutError:
            _log.warning(
                "[%s] the sockets were not closed within %g s",
                self.mach.id, self.options.disconn_timeout,
            )  # fmt: skip

    async def _close(self) -> None:
        former, self._former = self._former, []
        for follower in former:
            await follower.close()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            await transport.close()

    def _leave(self) -> None:
        """Follow no stream; its sockets are released by whoever leaves last."""
        if self._follower is not None:
            self._past = Counter(self._streamed())
            self._follower.leave(self)
            self._former.append(self._follower)
            self._follower = None

    async def __aenter__(self) -> Client:
        self.start()
        try:
            await self.ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def gave_up(self) -> None:
        """The connection will not come back: end what waits for it."""
        self.calls.end(self._why_not())

    # What can be seen.

    @property
    def addr(self) -> str:
        """The address that is connected to, or tried now."""
        return self._addrs[self._at % len(self._addrs)]

    def next_addr(self) -> str:
        """Go on to the next address, after one that did not work."""
        self._at += 1
        return self.addr

    @property
    def addrs(self) -> tuple[str, ...]:
        """All addresses, in the order in which they are tried."""
        return self._addrs

    @property
    def is_partial(self) -> bool:
        """Whether only some of the source's states are followed."""
        return self.view.is_partial

    @property
    def last_msg_at(self) -> float:
        """Loop time of the last message from the source; 0 before the first."""
        feed = 0.0 if self._follower is None else self._follower.last_frame_at
        return max(self._last_heard, feed)

    @property
    def last_heard(self) -> float:
        """Loop time of the last message of the conversation."""
        return self._last_heard

    @property
    def net_mach(self) -> NetworkMachine:
        """The replica.

        Raises:
            NotConnected: The source has not been reached yet.
        """
        if self._net is None:
            raise NotConnected(f"no replica of {self.addr} yet; wait for Ready")
        return self._net

    @property
    def follower(self) -> Follower:
        """What keeps the replica level with the source."""
        assert self._follower is not None, "the source has not been reached yet"
        return self._follower

    @property
    def calls(self) -> Calls:
        """The calls in flight."""
        assert self._calls is not None, "not started"
        return self._calls

    @property
    def transport(self) -> Transport:
        """What carries the frames."""
        assert self._transport is not None, "not started"
        return self._transport

    @property
    def call_count(self) -> int:
        """Calls sent, retries included."""
        return 0 if self._calls is None else self._calls.sent

    def metrics(self) -> dict[str, int]:
        """All counters by name; they only ever grow."""
        counts: dict[str, int] = {"garbage": self._garbage, "calls": self.call_count}
        counts["payloads_dropped"] = self._deliveries.dropped
        counts["payloads_failed"] = self._deliveries.failed
        counts["ns_sent"] = self._ns_sent
        counts["ns_lost"] = self._ns_lost
        counts["ns_received"] = self.ns.received
        counts["ns_canceled"] = self.ns.canceled
        counts["ns_refused"] = self.ns.refused
        if self._net is not None:
            counts["calls_filtered"] = self._net.filtered
        if self._watches is not None:
            counts["waits_refused"] = self._watches.refusals
        if self._calls is not None:
            counts["calls_retried"] = self._calls.retried
            counts["calls_offline"] = self._calls.offline
        if self._connection is not None:
            counts["connects"] = self._connection.connects
        streamed = self._streamed()
        counts["garbage"] += streamed.pop("garbage", 0)
        return counts | streamed

    def _streamed(self) -> dict[str, int]:
        """What happened on the streams since this client came to them."""
        counts = self._past.copy()
        if self._follower is not None:
            counts.update(self._follower.counts())
            counts.subtract(self._joined)
        return dict(counts)

    async def sync(self) -> Time:
        """Catch up with everything the source did so far; e.g. after `add_ns`.

        Returns:
            The machine time then.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        if not self.mach.is_("Ready"):
            raise NotConnected(f"{self.addr} is not connected; wait for Ready")
        self.mach.add("MetricSync")
        try:
            await self.follower.sync(self, self.options.call_timeout)
        except TimeoutError:
            raise NotConnected(f"{self.addr} did not answer in time") from None
        return self.net_mach.time()

    async def machines(self) -> list[MachineInfo]:
        """Which machines the source's Mux serves.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        self._last_listing += 1
        request = self._last_listing
        answer: asyncio.Future[Listing] = asyncio.get_running_loop().create_future()
        self._listings[request] = answer
        try:
            async with asyncio.timeout(self.options.call_timeout):
                if not self._send(List(request)):
                    raise NotConnected(f"{self.addr} is not connected; wait for Ready")
                return machines_of(await answer)
        except TimeoutError:
            raise NotConnected(f"{self.addr} did not answer in time") from None
        finally:
            del self._listings[request]

    async def args(self) -> tuple[str, ...]:
        """``Class.argument`` names of the typed arguments that the source has registered.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        wanted = self.net_mach.remote_id
        return next((info.args for info in await self.machines() if info.id == wanted), ())

    # Payloads.

    def payloads(self, *names: str, limit: int = QUEUE_LIMIT) -> PayloadIterator:
        """Iterate over payloads as they come, of the given names or all.

        Args:
            names: Which kinds; all when empty.
            limit: How many are kept for a slow reader before the oldest is dropped and counted.
        """
        return self._deliveries.iterate(names, limit)

    def on_payload(self, callback: Callable[[Payload], None]) -> None:
        """Call `callback` for each payload, in order with the states; it must not block."""
        self._deliveries.call(callback)

    def _arrived(self, payload: Payload) -> bool:
        if self.consumer is not None:
            self.mach.add("WorkerPayload")
        return self.net_mach.payload_arrived(payload)

    def deliver(self, frame: PayloadFrame) -> None:
        """A payload of the stream; from its follower."""
        source = frame.source or self.net_mach.remote_id
        self._deliveries.deliver(
            Payload(frame.name, frame.data, frame.token, source, frame.source_tx)
        )

    def _on_directed(self, message: Directed) -> None:
        """A payload for this client alone: once, and not before the states it follows."""
        self._acknowledge(self._deliveries.direct(message))
        if self._deliveries.waiting:
            self.follower.await_number(self)

    def _acknowledge(self, ack: Ack | None) -> None:
        if ack is not None:
            self._send(ack)

    def applied(self, number: int) -> bool:
        """The stream is applied up to `number`: what waited for that may go on; is there more?"""
        waits = self.calls.applied(number) | self.watches.applied(number)
        if not self._deliveries.waiting:
            return waits
        source = "" if self._net is None else self._net.remote_id
        self._acknowledge(self._deliveries.applied(number, source))
        return waits or self._deliveries.waiting

    def pause(self) -> None:
        """The conversation is gone: the follower cannot ask by it."""
        if self._follower is not None:
            self._follower.pause(self)

    @property
    def feed(self) -> str:
        """Where the stream comes from; "" before it does."""
        return "" if self._follower is None else self._follower.feed

    def ask(self, message: Sync) -> bool:
        """Put a question of the follower's."""
        return self._send(message)

    def misfit(self, error: SchemaMismatch) -> None:
        """The source's schema has lost states that are followed here."""
        if self._connection is not None:
            self._connection.fail(error)

    # Calls of the replica.

    def call(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> asyncio.Future[Result]:
        """Send a mutation; used by the replica."""
        if threading.get_ident() != self._thread:
            raise RpcError(
                f"{self.mach.id}: replicas are mutated on the thread of their event loop; use "
                "asyncio.run_coroutine_threadsafe from others"
            )
        if self.mach.is_("Ready"):
            return self.calls.begin(kind, called, args, event, self.epoch)
        room = self.options.offline_queue
        if room and self.mach.is_("Start") and self.calls.offline < room:
            return self.calls.keep(kind, called, args, event)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if room and self.mach.is_("Start"):
            future.set_exception(
                LimitExceeded(f"{self.addr} is away, and offline_queue={room} mutations wait")
            )
        else:
            future.set_exception(
                NotConnected(f"{self.addr} is not connected: nothing was sent; wait for Ready")
            )
        return future

    def notify(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Result:
        """Send a mutation without a reply; used by the replica."""
        source = None if event is None else list(event.source())
        given = dict(args) if args else None
        message = Mutate(0, kind, list(called), given, self._number(), source)
        if not (self.mach.is_("Ready") and self._send(message)):
            return Result.CANCELED
        self._ns_sent += 1
        return Result.EXECUTED

    def watch(
        self, kind: WatchKind, called: tuple[int, ...], args: Mapping[str, object] | None
    ) -> Wait:
        """Wait for something that only the source can see; used by the replica."""
        return self.watches.begin(kind, called, args)

    def renumber(self, new: Mapping[int, int]) -> None:
        """State indexes have changed; used by the replica."""
        self.calls.renumber(new)
        self.watches.renumber(new)

    @property
    def watches(self) -> Watches:
        """The waits at the source."""
        if self._watches is None:
            raise NotConnected(f"{self.addr} was never connected; start the client first")
        return self._watches

    # The conversation.

    def hello(self) -> Hello:
        """How this client introduces itself."""
        known = self._schema if self._net is None else self._net.compiled
        return Hello(
            PROTOCOL_VERSION,
            self.mach.id,
            self._incarnation,
            b"" if known is None else schema_hash(known),
            self._machine_id,
            self.view.value(),
        )

    def on_message(self, frame: bytes, blobs: object) -> None:
        """A message of the conversation arrived."""
        self._last_heard = self._loop.time()
        try:
            message = from_frame(frame)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        if isinstance(message, Reply):
            self._on_reply(message)
        elif isinstance(message, Pong):
            pass  # `last_msg_at` is all it is for
        elif isinstance(message, Welcome):
            self._on_welcome(message)
        elif isinstance(message, Refusal):
            self._on_refusal(message)
        elif isinstance(message, Bye):
            self._on_bye(message)
        elif isinstance(message, NsReport):
            self._on_ns_report(message)
        elif isinstance(message, Listing):
            self._on_listing(message)
        elif self._follower is None:
            self._count_garbage(f"{type(message).__name__} before Welcome")
        else:
            self._on_followed(self._follower, message)

    def _on_followed(self, follower: Follower, message: Message) -> None:
        """What only makes sense while a stream is followed."""
        if isinstance(message, CatchUp):
            follower.on_catch_up(message)
        elif isinstance(message, SnapshotReply):
            follower.on_snapshot(message)
        elif isinstance(message, Directed):
            self._on_directed(message)
        elif isinstance(message, Watched):
            if self.watches.happened(message.request, message.head):
                follower.await_number(self)
                follower.expect(message.head)
        else:
            self._count_garbage(f"{type(message).__name__} is not for a client")

    def _on_reply(self, message: Reply) -> None:
        if self._follower is None:
            return
        head = message.head or self._follower.on_bodies(message.bodies)
        if self.calls.replied(message.request, message.result, head):
            self._follower.await_number(self)
            self._follower.expect(head)

    def _on_ns_report(self, message: NsReport) -> None:
        if message.refused > self.ns.refused:
            _log.warning(
                "[%s] mutations without reply: %d refused so far, the last one: %s",
                self.mach.id, message.refused, message.reason,
            )  # fmt: skip
        self.ns = message

    def _on_listing(self, message: Listing) -> None:
        answer = self._listings.get(message.request)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _on_welcome(self, message: Welcome) -> None:
        assert self._connection is not None
        try:
            self._adopt(message)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        except SchemaMismatch as error:
            self._connection.fail(error)
            return
        self.resumed = message.resumed and message.epoch == self.epoch
        if not self.resumed:
            self._deliveries.start_over()
            self._ns_lost += self._ns_sent - self.ns.received
            self.ns = NsReport(0, 0, 0, "")
            self._ns_sent = 0
        self.epoch = message.epoch
        self._connection.request_limit = message.request_limit
        self.heartbeat = message.heartbeat_ms / 1000
        try:
            self.follower.join(self, _reachable(message.feed, self.addr))
        except AmzmqError as error:
            self._connection.fail(error)
        else:
            self._connection.welcomed()

    def _adopt(self, message: Welcome) -> None:
        """Follow the stream of the Welcome, with the replica that there is, or a new one.

        Raises:
            FrameInvalid: What it says of the schema cannot be read.
            SchemaMismatch: The schema lacks states that are known here.
        """
        schema = self._schema if self._net is None else self._net.compiled
        if message.schema is not None:
            told = schema_from_value(message.schema)
            if self._schema is not None and self.view.schema:
                _check_expected(self._schema, told)
            schema = told
        if schema is None:
            raise FrameInvalid("Welcome without a schema, and none is known")
        transport = self._given_transport
        follower = follower_of(message.stream_id, message.epoch, schema, message.tracked, transport)
        if self._net is None:
            name = self.mach.id.removeprefix("rc-")
            self._net = NetworkMachine(
                f"rnm-{name}", follower.clock, message.machine_id, self, filters=self._filters
            )
        else:
            self._net.follow(follower.clock)
        self._net.came_from(message.machine_id)
        if message.path:
            self._net.path = tuple(str(node) for node in message.path)
        if message.groups:
            self._net.set_groups(
                {name: list(at) for name, at in message.groups.items() if isinstance(at, list)}
            )
        if follower is not self._follower:
            self._leave()
            self._follower = follower
            self._joined = follower.counts()

    def _on_refusal(self, message: Refusal) -> None:
        assert self._connection is not None
        if message.code == RefusalCode.STOPPING:
            self._connection.said_bye(message.reason)
        elif message.code == RefusalCode.NO_SESSION:
            if self.mach.is_("HandshakeDone"):
                self.mach.add("Handshaking")
        elif message.request:
            if not self.watches.refused(message.request, message.reason):
                self.calls.refused(message.request, message.code, message.reason)
        elif message.code == RefusalCode.UNREACHABLE:
            self._connection.said_bye(message.reason)
        else:
            self._connection.fail(refusal(message.code, message.reason))

    def _on_bye(self, message: Bye) -> None:
        assert self._connection is not None
        self._connection.said_bye(message.reason)

    def _number(self) -> int:
        return -1 if self._follower is None else self._follower.number

    @property
    def payloads_failed(self) -> int:
        """Payloads for everybody that nobody here made use of."""
        return self._deliveries.failed

    def _send(self, message: Message) -> bool:
        return self._connection is not None and self._connection.send(message)

    def _count_garbage(self, reason: str) -> None:
        self._garbage += 1
        if self._garbage == 1:
            _log.warning("[%s] %s (further ones are only counted)", self.mach.id, reason)


def client_id(name: str) -> str:
    """The id of a client's machine, by which the source knows it."""
    return f"rc-{name}"


def _state_names(option: str, names: Collection[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidArgs(f"{option}={names!r}: give a list of state names")
    return frozenset(names)


def _check_expected(expected: CompiledSchema, told: CompiledSchema) -> None:
    if lost := [name for name in expected.names if name not in told.index]:
        raise SchemaMismatch(
            f"the source's schema has no {' '.join(lost)}; the client was given a schema that "
            "has: follow another machine, or leave out schema="
        )


async def _wait(wait: object) -> None:
    await wait  # type: ignore[misc]


def _reachable(feed: str, addr: str) -> str:
    """The feed's endpoint as seen from here: its port, at the host that was connected to.

    A source bound to all interfaces, or behind another name, does not know how it is reached.
    """
    if not (feed.startswith("tcp://") and addr.startswith("tcp://")):
        return feed
    host = addr.removeprefix("tcp://").rpartition(":")[0]
    return f"tcp://{host}:{feed.rpartition(':')[2]}"
