"""The client: a conversation with a source, and the replica that comes of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import TracebackType

from amzmq.errors import AmzmqError, ConnectFailed, FrameInvalid, NotConnected, RpcError
from amzmq.machine import Machine, MutationType, Result, Schema, States, Time
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.machine.event import HasSource
from amzmq.machine.schema import definitions_of
from amzmq.net import Transport, ZmqTransport
from amzmq.rpc.calls import Calls
from amzmq.rpc.connection import Connection
from amzmq.rpc.follower import Follower
from amzmq.rpc.netmach import NetworkMachine
from amzmq.rpc.options import ClientOptions
from amzmq.rpc.payload import QUEUE_LIMIT, Payload, PayloadIterator
from amzmq.rpc.retry import RetryPolicy
from amzmq.states import ClientStates, ConsumerStates
from amzmq.wire.control import (
    PROTOCOL_VERSION,
    Ack,
    Bye,
    CatchUp,
    Directed,
    Hello,
    Mutate,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    SnapshotReply,
    Sync,
    Welcome,
    from_frame,
)
from amzmq.wire.feed import PayloadFrame
from amzmq.wire.schema import schema_from_value, schema_hash

_log = logging.getLogger("amzmq.client")


class Client:
    """Follows one machine.

    Args:
        addr: The Mux's address.
        name: Names the client, ``rc-<name>``; random when empty.
        schema: The source's schema, if known: it need not be sent then.
        consumer: A machine with the `ConsumerStates`; gets WorkerPayload for each payload.
        parent: The machine the client's own one belongs to.
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
        reconnect: Whether a lost connection is made again.
        transport: What carries the frames; ZeroMQ by default.

    Attributes:
        mach: The client's own state machine (`ClientStates`).
        last_msg_at: Loop time of the last message from the source; 0 before the first.
        epoch: Of the source.
        resumed: Whether the source remembers this client from before.
        heartbeat: Seconds between heartbeats, as the source wants it.

    >>> async def follow(addr: str) -> None:
    ...     async with Client(addr, name="reader") as client:
    ...         await client.net_mach.add("Start")
    ...         print(client.net_mach)
    """

    def __init__(
        self,
        addr: str,
        name: str = "",
        *,
        schema: Schema | type[States] | None = None,
        consumer: Machine | None = None,
        parent: Machine | None = None,
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
        reconnect: bool = True,
        transport: Transport | None = None,
    ) -> None:
        if not addr:
            raise NotConnected("addr is empty; give the Mux's address, e.g. 'tcp://127.0.0.1:7701'")
        if consumer is not None and not consumer.has(*ConsumerStates.names()):
            raise RpcError(
                f"consumer {consumer.id} lacks states of ConsumerStates: "
                f"{' '.join(ConsumerStates.names())}"
            )
        self.addr = addr
        self.consumer = consumer
        self.options = ClientOptions(
            call_timeout,
            RetryPolicy(call_retries, call_retry_delay, call_retry_backoff, call_retry_timeout),
            conn_timeout,
            RetryPolicy(conn_retries, conn_retry_delay, conn_retry_backoff, conn_retry_timeout),
            hello_delay,
            disconn_cooldown,
            reconnect,
        )
        self.mach = Machine(
            ClientStates,
            id=f"rc-{name or secrets.token_hex(3)}",
            parent=parent,
            tags=["rpc-client", f"addr:{addr}"],
            # Its handlers open and close sockets; on a busy host that may take a while, and
            # undoing a state for it would leave the connection half made.
            handler_timeout=10.0,
        )
        self.last_msg_at = 0.0
        self.epoch = b""
        self.resumed = False
        self.heartbeat = 1.0
        self._schema: CompiledSchema | None = None
        if schema is not None:
            self._schema = compile_schema(definitions_of(schema))
        self._given_transport = transport
        self._transport: Transport | None = None
        self._incarnation = secrets.token_bytes(8)
        self._net: NetworkMachine | None = None
        self._follower: Follower | None = None
        self._calls: Calls | None = None
        self._connection: Connection | None = None
        self._iterators: list[PayloadIterator] = []
        self._payload_callbacks: list[Callable[[Payload], None]] = []
        self._held_payloads: list[Directed] = []
        self._directed = 0
        self._garbage = 0
        self._payloads_dropped = 0

    # Life.

    def start(self) -> Result:
        """Begin to connect; Ready in `mach` tells of the success."""
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        if self._connection is None:
            self._transport = self._given_transport or ZmqTransport()
            self._calls = Calls(
                self._send_mutate,
                self._number,
                self.options.call_retry,
                self.options.call_timeout,
            )
            self._connection = Connection(self)
            self.mach.bind(self._connection, id="connection")
        assert self._connection is not None
        if self.mach.is_("Start"):
            return Result.EXECUTED
        self._connection.begin()
        return self.mach.add("Start", "Connecting")

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
        self._end_payloads()
        if self._calls is not None:
            self._calls.end(NotConnected("the client was stopped; the call may have run"))
        if self.mach.is_("Connected"):
            self.mach.add("Disconnecting")
            await self.mach.when_not("Disconnecting")
        self.mach.dispose()
        await self.mach.when_disposed()
        if self._follower is not None:
            self._follower.pause()
        if self._net is not None:
            self._net.dispose()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            await transport.close()

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
        counts["payloads_dropped"] = self._payloads_dropped
        if self._calls is not None:
            counts["calls_retried"] = self._calls.retried
        if self._connection is not None:
            counts["connects"] = self._connection.connects
        if self._follower is not None:
            counts |= asdict(self._follower.reader.counters)
            counts["resyncs"] = self._follower.resyncs
            counts["garbage"] += self._follower.garbage
        return counts

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
            await self.follower.sync(self.options.call_timeout)
        except TimeoutError:
            raise NotConnected(f"{self.addr} did not answer in time") from None
        return self.net_mach.time()

    # Payloads.

    def payloads(self, *names: str, limit: int = QUEUE_LIMIT) -> PayloadIterator:
        """Iterate over payloads as they come, of the given names or all.

        Args:
            names: Which kinds; all when empty.
            limit: How many are kept for a slow reader before the oldest is dropped and counted.
        """
        iterator = PayloadIterator(names, limit, self._forget_iterator)
        self._iterators.append(iterator)
        return iterator

    def on_payload(self, callback: Callable[[Payload], None]) -> None:
        """Call `callback` for each payload, in order with the states; it must not block."""
        self._payload_callbacks.append(callback)

    def _forget_iterator(self, iterator: PayloadIterator) -> None:
        if iterator in self._iterators:
            self._iterators.remove(iterator)

    def _end_payloads(self) -> None:
        for iterator in list(self._iterators):
            iterator.end()

    def _deliver(self, frame: PayloadFrame | Directed) -> None:
        payload = Payload(
            frame.name, frame.data, frame.token, self.net_mach.remote_id, frame.source_tx
        )
        for iterator in self._iterators:
            self._payloads_dropped += iterator.offer(payload)
        for callback in self._payload_callbacks:
            try:
                callback(payload)
            except Exception:
                _log.exception("[%s] a payload callback failed", self.mach.id)
        if self.consumer is not None:
            self.mach.add("WorkerPayload")
            self.consumer.add("WorkerPayload", name=payload.name, payload=payload)

    def _on_directed(self, message: Directed) -> None:
        """A payload for this client alone: once, and not before the states it follows."""
        if message.ordinal == self._directed + len(self._held_payloads) + 1:
            self._held_payloads.append(message)
            self.follower.awaited = True
        elif message.ordinal <= self._directed:
            self._send(Ack(self._directed))  # the source has not heard of it yet
        self._applied(self._number())

    def _applied(self, number: int) -> bool:
        """The stream is applied up to `number`: what waited for that may go on; is there more?"""
        calls_wait = self.calls.applied(number)
        if not self._held_payloads:
            return calls_wait
        while self._held_payloads and self._held_payloads[0].after <= number:
            message = self._held_payloads.pop(0)
            self._directed = message.ordinal
            self._deliver(message)
        self._send(Ack(self._directed))
        return calls_wait or bool(self._held_payloads)

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
        if not self.mach.is_("Ready"):
            future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            future.set_exception(
                NotConnected(f"{self.addr} is not connected: nothing was sent; wait for Ready")
            )
            return future
        return self.calls.begin(kind, called, args, event, self.epoch)

    def notify(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Result:
        """Send a mutation without a reply; used by the replica."""
        source = None if event is None else list(event.source())
        message = Mutate(0, kind, list(called), dict(args) if args else None, -1, source)
        sent = self.mach.is_("Ready") and self._send(message)
        return Result.EXECUTED if sent else Result.CANCELED

    # The conversation.

    def hello(self) -> Hello:
        """How this client introduces itself."""
        known = b"" if self._schema is None else schema_hash(self._schema)
        return Hello(PROTOCOL_VERSION, self.mach.id, self._incarnation, known)

    def on_message(self, frame: bytes, blobs: object) -> None:
        """A message of the conversation arrived."""
        self.last_msg_at = self._loop.time()
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
        elif self._follower is None:
            self._count_garbage(f"{type(message).__name__} before Welcome")
        elif isinstance(message, CatchUp):
            self._follower.on_catch_up(message)
        elif isinstance(message, SnapshotReply):
            self._follower.on_snapshot(message)
        elif isinstance(message, Directed):
            self._on_directed(message)
        else:
            self._count_garbage(f"{type(message).__name__} is not for a client")

    def on_frame(self, frame: bytes) -> None:
        """A frame of the feed arrived."""
        self.last_msg_at = self._loop.time()
        if self._follower is not None:
            self._follower.on_frame(frame)

    def _on_reply(self, message: Reply) -> None:
        if self._follower is None:
            return
        head = message.head or self._follower.on_bodies(message.bodies)
        if self.calls.replied(message.request, message.result, head):
            self._follower.awaited = True
            self._follower.expect(head)

    def _on_welcome(self, message: Welcome) -> None:
        assert self._connection is not None
        try:
            if message.schema is not None:
                self._schema = schema_from_value(message.schema)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        if self._schema is None:
            self._count_garbage("Welcome without a schema, and none is known")
            return
        if self._net is None or self._net.compiled is not self._schema:
            self._adopt(self._schema, message.machine_id)
        self.resumed = message.resumed and message.epoch == self.epoch
        if not self.resumed:
            self._directed = 0
            self._held_payloads.clear()
        self.epoch = message.epoch
        self._connection.request_limit = message.request_limit
        self.heartbeat = message.heartbeat_ms / 1000
        try:
            self._connection.welcomed(_reachable(message.feed, self.addr), message.stream_id)
        except AmzmqError as error:
            self._connection.fail(error)

    def _adopt(self, schema: CompiledSchema, machine_id: str) -> None:
        """A replica of the schema; a source restarted with another one gets another replica."""
        if self._net is not None:
            _log.warning("[%s] the source has another schema now: new replica", self.mach.id)
            self._net.dispose()
        if self._follower is not None:
            self._follower.pause()
        self._net = NetworkMachine(f"rnm-{self.mach.id[3:]}", schema, machine_id, self)
        self._follower = Follower(self._net, self._send, self._deliver, self._applied)

    def _on_refusal(self, message: Refusal) -> None:
        assert self._connection is not None
        if message.code == RefusalCode.STOPPING:
            self._connection.said_bye(message.reason)
        elif message.code == RefusalCode.NO_SESSION:
            if self.mach.is_("HandshakeDone"):
                self.mach.add("Handshaking")
        elif message.request:
            self.calls.refused(message.request, message.reason)
        else:
            self._connection.refused(message.reason)

    def _on_bye(self, message: Bye) -> None:
        assert self._connection is not None
        self._connection.said_bye(message.reason)

    def _number(self) -> int:
        return -1 if self._follower is None else self._follower.number

    def _send(self, message: Ack | Sync | Mutate) -> bool:
        return self._connection is not None and self._connection.send(message)

    def _send_mutate(self, message: Mutate) -> bool:
        return self._send(message)

    def _count_garbage(self, reason: str) -> None:
        self._garbage += 1
        if self._garbage == 1:
            _log.warning("[%s] %s (further ones are only counted)", self.mach.id, reason)


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
