"""The client: a conversation with a source, and the replica that comes of it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from amzmq.errors import (
    CallTimeout,
    InvalidArgs,
    LimitExceeded,
    NotConnected,
    RpcError,
    SchemaMismatch,
)
from amzmq.machine import Machine, MutationType, Result, Schema, States, Time
from amzmq.machine.compiled import compile_schema
from amzmq.machine.event import HasSource
from amzmq.machine.schema import definitions_of
from amzmq.net import Keys, Transport, ZmqTransport
from amzmq.net.sharing import hold, release
from amzmq.rpc.client.calls import Calls
from amzmq.rpc.client.connection import Connection
from amzmq.rpc.client.conversation import Conversation
from amzmq.rpc.client.following import Following
from amzmq.rpc.client.options import ClientOptions, state_names
from amzmq.rpc.client.party import Party
from amzmq.rpc.client.taking import Taking
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.replica.follower import Follower
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.replica.watches import RemoteWait, Watches
from amzmq.rpc.retry import RetryPolicy
from amzmq.states import ConsumerStates
from amzmq.wire.control import (
    Message,
    Mutate,
    NsReport,
    Sync,
    WatchKind,
)
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.client")


class Client(Party, Taking):
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
        transport: What carries the frames; ZeroMQ by default. The last of those who were given
            one closes it.
        curve, server_key: As of `ZmqTransport`, if there is no `transport`.

    Attributes:
        mach: The client's own state machine (`ClientStates`).
        view: What of the machine is followed.
        options: Its timings and limits.
        consumer: Gets the payloads, if there is one.

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
        curve: Keys | None = None,
        server_key: bytes | str | os.PathLike[str] | None = None,
    ) -> None:
        if consumer is not None and not consumer.has(*ConsumerStates.names()):
            raise RpcError(
                f"consumer {consumer.id} lacks states of ConsumerStates: "
                f"{' '.join(ConsumerStates.names())}"
            )
        self.view = View(
            not no_schema,
            state_names("allowed_states", allowed_states),
            state_names("skipped_states", skipped_states) or frozenset(),
            sync_shallow_clocks,
            sync_mutations,
        )
        if mutation_filtering and (no_schema or self.view.is_partial):
            raise InvalidArgs(
                "mutation_filtering needs the relations of all states: leave out no_schema, "
                "allowed_states and skipped_states, or the filtering"
            )
        self.consumer = consumer
        options = ClientOptions(
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
        Party.__init__(self, addr, name, parent, options)
        expected = None if schema is None else compile_schema(definitions_of(schema))
        self.following = Following(
            self.mach.id.removeprefix("rc-"),
            self.view,
            expected,
            mutation_filtering,
            transport,
            self,
        )
        self._machine_id = machine
        self._given_transport = transport
        self._secure = partial(ZmqTransport, curve=curve, server_key=server_key)
        self._secured = curve is not None or server_key is not None
        self._incarnation = secrets.token_bytes(8)
        self._calls: Calls | None = None
        self._watches: Watches | None = None
        self._conversation: Conversation | None = None
        Taking.__init__(self, consumer)

    # Life.

    def start(self) -> Result:
        """Begin to connect; Ready in `mach` tells of the success."""
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        if self._connection is None:
            self._transport = hold(self._given_transport or self._secure())
            if self._secured:  # what follows without keys is shared with those who have none
                self.following.transport = self._transport
            self._calls = Calls(
                self._send_settled,
                self._number,
                self.options.call_retry,
                self.options.call_timeout,
                self._retrying,
                self._gave_up_call,
            )
            self._watches = Watches(self._send_settled, self._number)
            self._connection = Connection(self)
            self._conversation = Conversation(
                self, self._connection, self._incarnation, self._machine_id
            )
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

    async def stop(self) -> None:
        """Say goodbye, close the connection, let go of the replica."""
        self.deliveries.end()
        self.end_fetching("the client was stopped")
        if self._calls is not None:
            self._calls.end(NotConnected("the client was stopped; the call may have run"))
        await self._say_goodbye()
        if self._calls is not None:  # those that were made meanwhile
            self._calls.end(NotConnected("the client was stopped; the call may have run"))
        if self._watches is not None:
            self._watches.end()
        if self._conversation is not None:
            self._conversation.end()
        if (net := self.following.net) is not None:
            net.dispose()
            await net.when_disposed()
        self.following.leave()
        try:
            async with asyncio.timeout(self.options.disconn_timeout):
                await self._close()
        except TimeoutError:
            _log.warning(
                "[%s] the sockets were not closed within %g s",
                self.mach.id, self.options.disconn_timeout,
            )  # fmt: skip

    async def _close(self) -> None:
        await self.following.close()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            await release(transport)

    def gave_up(self) -> None:
        """The connection will not come back: end what waits for it."""
        error = self._connected_by().why_not()
        self.calls.end(error)
        self.fetcher.end(error)

    # What can be seen.

    @property
    def is_partial(self) -> bool:
        """Whether only some of the source's states are followed."""
        return self.view.is_partial

    @property
    def last_msg_at(self) -> float:
        """Loop time of the last message from the source; 0 before the first."""
        feed = 0.0 if self.following.follower is None else self.following.follower.last_frame_at
        heard = 0.0 if self._conversation is None else self._conversation.heard_at
        return max(heard, feed)

    @property
    def epoch(self) -> bytes:
        """Of the source's present incarnation; b"" before it was reached."""
        return self.following.epoch

    @property
    def heartbeat(self) -> float:
        """Seconds between heartbeats, as the source wants it."""
        return self.conversation.heartbeat

    @property
    def ns(self) -> NsReport:
        """What became of mutations without reply (`NetworkMachine.add_ns`).

        As far as the source has reported; `sync` brings it up to date.
        """
        return self.conversation.ns

    @property
    def net_mach(self) -> NetworkMachine:
        """The replica.

        Raises:
            NotConnected: The source has not been reached yet.
        """
        if self.following.net is None:
            raise NotConnected(f"no replica of {self.addr} yet; wait for Ready")
        return self.following.net

    @property
    def follower(self) -> Follower:
        """What keeps the replica level with the source."""
        assert self.following.follower is not None, "the source has not been reached yet"
        return self.following.follower

    @property
    def conversation(self) -> Conversation:
        """What is said to the source, and by it."""
        assert self._conversation is not None, "not started"
        return self._conversation

    @property
    def calls(self) -> Calls:
        """The calls in flight."""
        assert self._calls is not None, "not started"
        return self._calls

    @property
    def call_count(self) -> int:
        """Calls sent, retries included."""
        return 0 if self._calls is None else self._calls.sent

    def metrics(self) -> dict[str, int]:
        """All counters by name; they only ever grow."""
        streamed = self.following.counts()
        counts: dict[str, int] = {"garbage": streamed.pop("garbage", 0), "calls": self.call_count}
        counts["payloads_dropped"] = self.deliveries.dropped
        counts["payloads_failed"] = self.deliveries.failed
        if (said := self._conversation) is not None:
            counts["garbage"] += said.garbage
            counts |= said.ns_counts()
        if self.following.net is not None:
            counts["calls_filtered"] = self.following.net.filtered
        if self._watches is not None:
            counts["waits_refused"] = self._watches.refusals
        if self._calls is not None:
            counts["calls_retried"] = self._calls.retried
            counts["calls_offline"] = self._calls.offline
        if self._transit is not None:
            counts |= self._transit.metrics()
        if self._connection is not None:
            counts["connects"] = self._connection.connects
        return counts | streamed

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
        return await self.conversation.machines(self.options.call_timeout)

    async def args(self) -> tuple[str, ...]:
        """``Class.argument`` names of the typed arguments that the source has registered.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        wanted = self.net_mach.remote_id
        return next((info.args for info in await self.machines() if info.id == wanted), ())

    def ask(self, message: Sync) -> bool:
        """Put a question of the follower's."""
        return self._send(message)

    @property
    def is_stale(self) -> bool:
        """Whether a node on the way to the machine has lost its own source."""
        return self.following.is_stale

    def aged(self) -> None:
        """Whoever publishes the stream has lost its own source, or found it again."""
        self.following.mark()
        self.tell_stale()

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
        self.conversation.ns_sent += 1
        return Result.EXECUTED

    def watch(
        self, kind: WatchKind, called: tuple[int, ...], args: Mapping[str, object] | None
    ) -> RemoteWait:
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

    def _number(self) -> int:
        follower = self.following.follower
        return -1 if follower is None else follower.number

    def _send(self, message: Message) -> bool:
        return self._connection is not None and self._connection.send(message)

    def _send_settled(self, message: Message) -> bool:
        # Until the handshake is over nobody knows whether the source is still the one that was
        # asked before: another one would run a retry a second time.
        talk = self._conversation
        return talk is not None and talk.settled and self._send(message)
