"""The subscriber: many machines of one Mux over one connection, to be read only."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from amzmq.errors import InvalidArgs, NotConnected, SchemaMismatch
from amzmq.machine import Event, Machine, Result
from amzmq.net import Keys, Transport, ZmqTransport
from amzmq.net.sharing import hold, release
from amzmq.rpc.backlog import BACKLOG_LIMIT
from amzmq.rpc.client.connection import Connection
from amzmq.rpc.client.deliveries import Deliveries
from amzmq.rpc.client.options import ClientOptions, state_names
from amzmq.rpc.client.party import Party
from amzmq.rpc.payload import Payload, PayloadIterator
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.retry import RetryPolicy
from amzmq.rpc.subscriber.changes import Change, ChangeIterator
from amzmq.rpc.subscriber.followed_machine import FollowedMachine
from amzmq.rpc.subscriber.shared_feed import SharedFeed
from amzmq.rpc.subscriber.talk import SubscriberTalk
from amzmq.wire.control import Ack, Directed, Sync
from amzmq.wire.feed import PayloadFrame
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.client")


class Subscriber(Party):
    """Follows many machines of one Mux: two sockets, whatever their number.

    Args:
        addr: The Mux's address, or several that are tried in turn.
        machines: Ids of the machines; None for all that are served, also those that are served
            later. Named ones have to be there when the subscriber starts.
        name: Names the subscriber, ``rc-<name>``; random when empty.
        parent: The machine its own one belongs to.
        no_schema, allowed_states, skipped_states, sync_mutations, sync_shallow_clocks: What of
            the machines is followed; as of `Client`.
        conflate: Tell of changes merged, at most once an `interval`: for those who want only
            the newest. The replicas are complete all the same.
        interval: Seconds between two changes of a machine at least, with `conflate`; 0 tells
            once a turn of the loop, however many updates that took in.
        call_timeout: Seconds for one question to be answered.
        conn_timeout, conn_retries, conn_retry_delay, conn_retry_backoff, conn_retry_timeout:
            As of `Client`.
        hello_delay, disconn_cooldown, disconn_timeout, reconnect: As of `Client`.
        transport: What carries the frames; ZeroMQ by default. The last of those who were given
            one closes it.
        curve, server_key: As of `ZmqTransport`, if there is no `transport`.

    Attributes:
        mach: Its own state machine (`ClientStates`).
        wanted: The ids that were given; None for all.
        view: What of the machines is followed.
        deliveries: Hands out the payloads.
        callbacks_failed: Callbacks of `on_change` that raised.

    >>> async def watch(addr: str) -> None:
    ...     async with Subscriber(addr, machines=["door", "lamp"]) as sub:
    ...         sub.on_change(lambda machine, on, off: print(machine.remote_id, "+", on, "-", off))
    ...         await sub["door"].when("Open")
    """

    kind = "subscriber"

    def __init__(
        self,
        addr: str | Sequence[str],
        machines: Collection[str] | None = None,
        name: str = "",
        *,
        parent: Machine | None = None,
        no_schema: bool = False,
        allowed_states: Collection[str] | None = None,
        skipped_states: Collection[str] | None = None,
        sync_mutations: bool = False,
        sync_shallow_clocks: bool = False,
        conflate: bool = False,
        interval: float = 0.0,
        call_timeout: float = 3.0,
        conn_timeout: float = 3.0,
        conn_retries: int = 15,
        conn_retry_delay: float = 0.1,
        conn_retry_backoff: float = 3.0,
        conn_retry_timeout: float = 60.0,
        hello_delay: float = 0.0,
        disconn_cooldown: float = 0.01,
        disconn_timeout: float = 3.0,
        reconnect: bool = True,
        transport: Transport | None = None,
        curve: Keys | None = None,
        server_key: bytes | str | os.PathLike[str] | None = None,
    ) -> None:
        self.wanted = _machine_ids(machines)
        if interval and not conflate:
            raise InvalidArgs(f"interval={interval:g} is for conflate=True; every change is told")
        retry = RetryPolicy(conn_retries, conn_retry_delay, conn_retry_backoff, conn_retry_timeout)
        options = ClientOptions(
            call_timeout,
            conn_timeout=conn_timeout,
            conn_retry=retry,
            hello_delay=hello_delay,
            disconn_cooldown=disconn_cooldown,
            disconn_timeout=disconn_timeout,
            reconnect=reconnect,
        )
        super().__init__(addr, name, parent, options)
        self.view = View(
            not no_schema,
            state_names("allowed_states", allowed_states),
            state_names("skipped_states", skipped_states) or frozenset(),
            sync_shallow_clocks,
            sync_mutations,
        )
        self.callbacks_failed = 0
        self.deliveries = Deliveries(self.mach.id, None, self._number, self._arrived, _no_blob)
        self._conflate = conflate
        self._interval = interval
        self._given_transport = transport
        self._secure = partial(ZmqTransport, curve=curve, server_key=server_key)
        self._shared = SharedFeed(lambda: self.transport)
        self._followed: dict[str, FollowedMachine] = {}
        self._sender: NetworkMachine | None = None  # of the payload that is handed out now
        self._talk: SubscriberTalk | None = None
        self._refreshing = asyncio.Lock()
        self._on_change: list[Callable[[NetworkMachine, Sequence[str], Sequence[str]], None]] = []
        self._changes: list[ChangeIterator] = []
        self._dropped = 0

    # Life.

    def start(self) -> Result:
        """Begin to connect; Ready in `mach` tells of the success."""
        if self._connection is None:
            self._transport = hold(self._given_transport or self._secure())
            self._connection = Connection(self)
            self._talk = SubscriberTalk(self, self._connection, secrets.token_bytes(8))
            self.mach.bind(self._connection, id="connection")
            self.mach.bind({"HandshakeDoneState": self._keep_up}, id="news")
        if self.mach.is_("Start"):
            return Result.EXECUTED
        self._connection.begin()
        return self.mach.add("Start", "Connecting")

    async def stop(self) -> None:
        """Say goodbye, close the connection, let go of the replicas."""
        self.deliveries.end()
        for iterator in list(self._changes):
            iterator.end()
        await self._say_goodbye()
        if self._talk is not None:
            self._talk.end()
        for machine in self.followed:
            await machine.end()
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        try:
            async with asyncio.timeout(self.options.disconn_timeout):
                await self._shared.close()
                await release(transport)
        except TimeoutError:
            _log.warning(
                "[%s] the sockets were not closed within %g s",
                self.mach.id, self.options.disconn_timeout,
            )  # fmt: skip

    def gave_up(self) -> None:
        """The connection will not come back: replicas stay as they are."""

    async def _keep_up(self, e: Event) -> None:
        """Follow what is served later, as long as there is a connection."""
        news = self.conversation.news
        while True:
            await news.wait()
            news.clear()
            try:
                await self.refresh()
            except NotConnected as error:
                _log.info("[%s] machines that are served now: %s", self.mach.id, error)

    # What is followed.

    @property
    def machines(self) -> dict[str, NetworkMachine]:
        """The replicas by their machines' ids; also of machines that are not served any more."""
        return {
            machine.id: machine.net
            for machine in self.followed
            if machine.following.net is not None
        }

    def __getitem__(self, machine_id: str) -> NetworkMachine:
        """The replica of a machine; mutations raise `NoAccess`.

        Raises:
            NotConnected: No such machine is followed.
        """
        net = self.machines.get(machine_id)
        if net is None:
            raise NotConnected(
                f"no replica of {machine_id!r} at {self.addr}; followed are: "
                f"{' '.join(self.machines) or 'none yet, wait for Ready'}"
            )
        return net

    def __contains__(self, machine_id: object) -> bool:
        return machine_id in self.machines

    def __iter__(self) -> Iterator[str]:
        return iter(self.machines)

    def __len__(self) -> int:
        return len(self.machines)

    @property
    def ended(self) -> tuple[str, ...]:
        """Machines that the source does not tell of at present; their replicas stand still."""
        return tuple(machine.id for machine in self.followed if not machine.is_followed)

    async def refresh(self) -> list[str]:
        """Look for machines that are wanted and not followed; it happens by itself as well.

        Returns:
            The ids of those that are followed from now on, level with the source.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        async with self._refreshing:
            if not self.mach.is_("Ready"):
                raise NotConnected(f"{self.addr} is not connected; wait for Ready")
            return await self.conversation.follow(self.options.call_timeout)

    async def sync(self) -> None:
        """Catch up with everything the source did so far, on all machines.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        if not self.mach.is_("Ready"):
            raise NotConnected(f"{self.addr} is not connected; wait for Ready")
        try:
            await self.conversation.catch_up(self.options.call_timeout)
        except TimeoutError:
            raise NotConnected(f"{self.addr} did not answer in time") from None

    # What can be seen.

    @property
    def conversation(self) -> SubscriberTalk:
        """What is said to the source, and by it."""
        assert self._talk is not None, "not started"
        return self._talk

    def metrics(self) -> dict[str, int]:
        """All counters by name, those of the streams summed up; they only ever grow."""
        counts: Counter[str] = Counter()
        for machine in self.followed:
            counts.update(machine.following.counts())
        counts["payloads_dropped"] = self.deliveries.dropped
        counts["payloads_failed"] = self.deliveries.failed
        counts["changes_dropped"] = self._dropped
        counts["callbacks_failed"] = self.callbacks_failed
        counts["strangers"] = self._shared.strangers
        counts["connects"] = 0 if self._connection is None else self._connection.connects
        if self._talk is not None:
            counts["garbage"] += self._talk.garbage
            counts["machines_refused"] = self._talk.refused
        return dict(counts)

    # Changes.

    def on_change(
        self, callback: Callable[[NetworkMachine, Sequence[str], Sequence[str]], None]
    ) -> None:
        """Call ``callback(machine, activated, deactivated)`` for each change; it must not block.

        Both lists are empty when states only ticked. With `conflate` it gets many in one.
        """
        self._on_change.append(callback)

    def changes(self, *, limit: int = BACKLOG_LIMIT) -> ChangeIterator:
        """Iterate over changes as they come.

        Args:
            limit: How many are kept for a slow reader before the oldest is dropped and counted;
                with `conflate` it is one a machine, and none is dropped.
        """
        iterator = ChangeIterator(limit, self._conflate, self._forget)
        self._changes.append(iterator)
        return iterator

    def _forget(self, iterator: ChangeIterator) -> None:
        if iterator in self._changes:
            self._changes.remove(iterator)

    def _tell(self, change: Change) -> None:
        for iterator in self._changes:
            self._dropped += iterator.offer(change)
        for callback in self._on_change:
            try:
                callback(change.machine, change.activated, change.deactivated)
            except Exception:
                self.callbacks_failed += 1
                _log.exception("[%s] a change callback failed", self.mach.id)

    # Payloads.

    def payloads(self, *names: str, limit: int = BACKLOG_LIMIT) -> PayloadIterator:
        """Iterate over payloads as they come, of the given names or all; see `Client.payloads`."""
        return self.deliveries.iterate(names, limit)

    def on_payload(self, callback: Callable[[Payload], None]) -> None:
        """Call `callback` for each payload, in order with its machine's states."""
        self.deliveries.call(callback)

    def _arrived(self, payload: Payload, blob: list[object] | None) -> bool:
        # An offer is not handed on: nobody could fetch it from here.
        return blob is None and self._sender is not None and self._sender.payload_arrived(payload)

    def take_directed(self, message: Directed) -> None:
        """A payload for this subscriber alone: once, and not before the states it follows."""
        first = self.conversation.first
        if first is None:
            return  # not before Welcome
        self._acknowledge(self.deliveries.direct(message, first.net.remote_id))
        if self.deliveries.waiting:
            first.follower.await_number(first)

    def _acknowledge(self, ack: Ack | None) -> None:
        if ack is not None:
            self._connected_by().send(ack)

    def _number(self) -> int:
        first = None if self._talk is None else self._talk.first
        follower = None if first is None else first.following.follower
        return -1 if follower is None else follower.number

    # For the conversation and the machines.

    @property
    def followed(self) -> tuple[FollowedMachine, ...]:
        """The machines that are or were followed."""
        return tuple(self._followed.values())

    def machine(self, machine_id: str) -> FollowedMachine:
        """The one of an id; made if it is not known yet."""
        machine = self._followed.get(machine_id)
        if machine is None:
            name = self.mach.id.removeprefix("rc-")
            machine = FollowedMachine(machine_id, name, self.view, self._shared, self)
            self._followed[machine_id] = machine
        return machine

    def level(self) -> None:
        """What is followed is level with the source: tell of changes from now on."""
        for machine in self.followed:
            if machine.is_followed:
                machine.following.level()
                machine.tell(self._tell, self._conflate, self._interval)

    @property
    def is_stale(self) -> bool:
        """Whether a node on the way to one of the machines has lost its own source."""
        return any(it.is_followed and it.following.is_stale for it in self.followed)

    def ask(self, machine: FollowedMachine, message: Sync) -> bool:
        """Put a question about a machine's stream."""
        return self.conversation.ask(machine, message)

    def deliver(self, machine: FollowedMachine, frame: PayloadFrame) -> None:
        """A machine sent a payload."""
        self._sender = machine.net
        payload = Payload(
            frame.name, frame.data, frame.token, frame.source or machine.net.remote_id,
            frame.source_tx,
        )  # fmt: skip
        self.deliveries.deliver(payload, frame.blob)

    def applied(self, machine: FollowedMachine, number: int) -> bool:
        """A machine's stream is applied up to `number`; whether something waits for more."""
        if machine is self.conversation.first:
            self._acknowledge(self.deliveries.applied(number, machine.net.remote_id))
        return machine is self.conversation.first and self.deliveries.waiting

    def misfit(self, machine: FollowedMachine, error: SchemaMismatch) -> None:
        """A machine has lost states that are followed here."""
        self._connected_by().fail(error)


def _machine_ids(machines: Collection[str] | None) -> tuple[str, ...] | None:
    if machines is None:
        return None
    if isinstance(machines, str) or not all(isinstance(id, str) and id for id in machines):
        raise InvalidArgs(f"machines={machines!r}: give a list of machine ids, or None for all")
    if not machines:
        raise InvalidArgs("machines is empty: there is nothing to follow; give None for all")
    return tuple(dict.fromkeys(machines))


def _no_blob(payload: Payload, facts: list[object]) -> str:
    return "a Subscriber does not fetch blobs; use a Client"
