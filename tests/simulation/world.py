"""One simulated world: a source that may be restarted, clients that come and go, a network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.machine import Machine, Schema, State
from amzmq.net import MemoryNetwork
from amzmq.rpc import Client, Mux
from amzmq.wire.journal import JournalLimits
from tests.oracles.history import History, Sight
from tests.oracles.recorder import KEY_ARG, FollowerRecorder, SourceRecorder
from tests.simulation.network import Feed, Talk
from tests.simulation.steps import Do, Step

ADDR = "mem://source"
FEED = "mem://source.feed"
JOURNAL = 12
HEARTBEAT_S = 0.5
CLIENTS = 4
PATIENCE_S = 600.0

SCHEMA: Schema = {
    "A": State(),
    "B": State(),
    "Both": State(auto=True, require=["A", "B"]),
    "C": State(remove=["A"]),
    "D": State(require=["C"]),
    "Multi": State(multi=True),
}
STATES = ("A", "B", "C", "D", "Multi")

VIEWS: list[tuple[dict[str, Any], Sight]] = [
    ({}, Sight()),
    ({"sync_mutations": True}, Sight()),
    ({"sync_shallow_clocks": True}, Sight(shallow=True)),
    ({"allowed_states": ["A", "C"]}, Sight(allowed=frozenset("AC"))),
    ({"skipped_states": ["Multi"]}, Sight(skipped=frozenset({"Multi"}))),
    ({"no_schema": True}, Sight()),
    (
        {"no_schema": True, "allowed_states": ["A", "Multi"]},
        Sight(allowed=frozenset({"A", "Multi"})),
    ),
]
"""What clients ask to see."""


class Guest:
    """A client, and what it waits for."""

    def __init__(self, name: str, recorder: FollowerRecorder, client: Client) -> None:
        self.name = name
        self.recorder = recorder
        self.client = client
        self.transport: Any = None
        self.calls: set[asyncio.Task[object]] = set()

    def begin(self, work: Awaitable[object]) -> None:
        """Do something beside everything else."""
        task = asyncio.ensure_future(work)
        self.calls.add(task)

    async def stop(self) -> None:
        """The client ends; its calls end with it."""
        await self.client.stop()
        await self.settle()
        self.recorder.gone()

    async def settle(self) -> None:
        """Wait until all calls have ended, whichever way."""
        while self.calls:
            done, self.calls = self.calls, set()
            for result in await asyncio.gather(*done, return_exceptions=True):
                if isinstance(result, BaseException) and not isinstance(result, AmzmqError):
                    raise result


class World:
    """A source at `ADDR`, its clients, and what has happened.

    Args:
        seed: Where all randomness comes from.
    """

    def __init__(self, seed: int) -> None:
        self.history = History(JOURNAL)
        self.guests: list[Guest] = []
        self._rng = random.Random(seed)
        self._network = MemoryNetwork(seed)
        self._talk: Talk | None = None
        self._lives = 0
        self._made = 0
        self._serial = 0
        self._grown = 0
        self._keys: list[str] = []
        self._mux: Mux | None = None
        self._do: dict[Do, Callable[[Step], Awaitable[None] | None]] = {
            do: getattr(self, f"_{do.name.lower()}") for do in Do
        }

    # Life.

    async def start(self) -> None:
        """Begin with a source and no client."""
        self._new_machine()
        await self._serve()

    async def step(self, step: Step) -> None:
        """Do one step."""
        work = self._do[step.do](step)
        if work is not None:
            await work

    async def heal(self) -> None:
        """End all faults, and wait until everything is level and quiet."""
        self._calm(Step(Do.CALM))
        async with asyncio.timeout(PATIENCE_S):
            for guest in self.guests:
                await guest.client.mach.when("Ready")
                await guest.settle()
            await asyncio.sleep(4 * HEARTBEAT_S)  # until waits that did not get away are repeated
            for key in self._keys:
                self._machine.add("Multi", args={KEY_ARG: key})
            await self._until(self._is_level)
            await asyncio.sleep(4 * HEARTBEAT_S)  # for reports, confirmations, bookmarks
            await self._until(self._is_level)
            for guest in self.guests:
                await guest.client.sync()
        for guest in self.guests:
            guest.recorder.at_rest()
        self._recorder.at_rest(self._epoch)

    async def end(self) -> None:
        """Stop everybody."""
        for guest in self.guests:
            await guest.client.stop()
            await guest.settle()
        if self._mux is not None:
            await self._mux.stop()
        self._recorder.close()
        self._machine.dispose()
        await self._machine.when_disposed()

    def _is_level(self) -> bool:
        return all(
            guest.client.mach.is_("Ready")
            and guest.client.epoch.hex() == self._epoch
            and guest.client.follower.number == self._head(guest)
            for guest in self.guests
        )

    def _head(self, guest: Guest) -> int:
        server = next(
            server for server in self._serving.servers if server.client.name == f"rc-{guest.name}"
        )
        return server.stream.head

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.05)

    # The source.

    @property
    def _serving(self) -> Mux:
        assert self._mux is not None
        return self._mux

    @property
    def _epoch(self) -> str:
        feed = self._serving._sources.feed_of(self._machine.id)
        assert feed is not None
        return feed.epoch.hex()

    def _new_machine(self) -> None:
        self._lives += 1
        extra = {f"New{at}": State(multi=True) for at in range(self._grown)}
        self._machine = Machine({**SCHEMA, **extra}, id="src")
        self._recorder = SourceRecorder(self.history.note, f"life{self._lives}", self._machine)

    async def _serve(self) -> None:
        self._mux = Mux(
            self._machine,
            bind=ADDR,
            feed=FEED,
            heartbeat=HEARTBEAT_S,
            journal=JournalLimits(messages=JOURNAL),
            transport=self._recorder.tapped(self._network.transport()),
        )
        await self._mux.start()

    async def _restart(self, step: Step) -> None:
        """The source is stopped and served again: the machine lives on, the epoch is new."""
        await self._serving.stop()
        await asyncio.sleep(step.a / 200)
        await self._serve()

    async def _crash(self, step: Step) -> None:
        """The source dies without a word; another one takes its place."""
        mux = self._serving
        assert mux._transport is not None
        await mux._transport.close()
        self._recorder.close()
        await mux.stop()
        self._machine.dispose()
        await self._machine.when_disposed()
        await asyncio.sleep(step.a / 200)
        self._new_machine()
        for _ in range(step.b % 4):
            self._machine.add("Multi")
        await self._serve()

    def _mutate(self, step: Step) -> None:
        kind = ("add", "add", "remove", "set", "toggle")[step.b % 5]
        states = {STATES[step.a % 5], STATES[step.a // 5 % 5]}
        getattr(self._machine, kind)(*sorted(states))

    async def _burst(self, step: Step) -> None:
        """Many changes, some of them in turns of their own."""
        for at in range(step.a % 30):
            self._machine.add(STATES[(step.b + at) % 5])
            if at % (1 + step.b % 4) == 0:
                await asyncio.sleep(0)

    def _payload(self, step: Step) -> None:
        self._serving.send_payload("n", self._next())

    def _directed(self, step: Step) -> None:
        servers = self._serving.servers
        if servers:
            name = servers[step.a % len(servers)].client.name
            receipt = self._serving.send_payload("d", self._next(), name)
            self._recorder.sent(name.removeprefix("rc-"), receipt)

    def _fire(self, step: Step) -> None:
        if self._keys:
            self._machine.add("Multi", args={KEY_ARG: self._keys[step.a % len(self._keys)]})

    def _grow(self, step: Step) -> None:
        self._grown += 1
        state = {f"New{self._grown - 1}": State(multi=True)}
        # In front, so that all indexes change.
        self._machine.set_schema({**state, **self._machine.schema})
        self._machine.add(*state)

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    # Clients.

    async def _join(self, step: Step) -> None:
        if len(self.guests) >= CLIENTS:
            return
        options, sight = VIEWS[step.a % len(VIEWS)]
        self._made += 1
        name = f"c{self._made}"
        recorder = FollowerRecorder(self.history.note, name, sight)
        transport = self._network.transport(user=name)
        client = Client(
            ADDR,
            name=name,
            transport=recorder.tapped(transport),
            conn_retries=10_000,
            conn_retry_timeout=0,
            conn_retry_backoff=1.0,
            conn_timeout=1.0,
            call_timeout=1.0,
            call_retry_backoff=1.0,
            offline_queue=8 * (step.b % 2),
            **options,
        )
        guest = Guest(name, recorder, client)
        guest.transport = transport
        recorder.watch(client)
        client.start()
        self.guests.append(guest)

    async def _leave(self, step: Step) -> None:
        if self.guests:
            await self.guests.pop(step.a % len(self.guests)).stop()

    async def _die(self, step: Step) -> None:
        """A client vanishes without a word."""
        if self.guests:
            guest = self.guests.pop(step.a % len(self.guests))
            await guest.transport.close()
            await guest.stop()

    async def _return(self, step: Step) -> None:
        """A client comes back as another one, with another view."""
        await self._leave(step)
        await self._join(Step(Do.JOIN, step.a + 1, step.b))

    def _guest(self, step: Step) -> Guest | None:
        """A client that has a replica."""
        known = [guest for guest in self.guests if guest.client.following.net is not None]
        return known[step.a % len(known)] if known else None

    def _state_for(self, guest: Guest, step: Step) -> str:
        known = [state for state in STATES if guest.client.net_mach.has(state)]
        return known[step.b % len(known)]

    def _call(self, step: Step) -> None:
        if (guest := self._guest(step)) is not None:
            kind = ("add", "add", "remove", "set")[step.b // 5 % 4]
            state = self._state_for(guest, step)
            guest.begin(guest.recorder.call(f"call{self._next()}", kind, state))

    def _notify(self, step: Step) -> None:
        if (guest := self._guest(step)) is not None:
            guest.recorder.call_ns(f"ns{self._next()}", self._state_for(guest, step))

    def _wait(self, step: Step) -> None:
        guest = self._guest(step)
        if guest is not None and guest.client.net_mach.has("Multi"):
            key = f"key{self._next()}"
            self._keys.append(key)
            guest.recorder.wait_for("Multi", key)

    def _sync(self, step: Step) -> None:
        guest = self._guest(step)
        if guest is not None and guest.client.mach.is_("Ready"):
            guest.begin(guest.client.sync())

    # Time and the network.

    async def _pass(self, step: Step) -> None:
        """Time passes: a few turns, or up to some seconds."""
        if step.a % 3:
            await asyncio.sleep((step.b / 1000) ** 3 * 4)
        else:
            for _ in range(step.b % 8):
                await asyncio.sleep(0)

    def _feed_faults(self, step: Step) -> None:
        share = step.a / 1000
        longest = (0.005, 0.1, 1.5)[step.b % 3]
        self._network.feed_fault = Feed(self._rng, share * 0.6, share * 0.3, share, longest)

    def _talk_faults(self, step: Step) -> None:
        drop = (0.0, 0.0, 0.1, 0.3)[step.a % 4]
        talk = Talk(self._rng, drop, (0.001, 0.05, 0.4)[step.b % 3])
        if self._talk is not None:
            talk._last = self._talk._last
        self._talk = self._network.control_fault = talk

    def _calm(self, step: Step) -> None:
        self._network.feed_fault = None
        if self._talk is not None:
            self._talk.end()
        self._network.peer_limit = None
        self._network.partition(False)
        for name in list(self._network.refused):
            self._network.refuse(name, False)

    def _partition(self, step: Step) -> None:
        self._network.partition(step.a % 2 == 0)

    def _cut(self, step: Step) -> None:
        """One client loses its connections, and makes them again."""
        if self.guests:
            self._network.end_user(self.guests[step.a % len(self.guests)].name)
            if step.b % 2:
                for endpoint in (ADDR, FEED):
                    self._network.meet(endpoint)

    def _shut_out(self, step: Step) -> None:
        """One client loses its connections, and gets no others for now."""
        if self.guests:
            name = self.guests[step.a % len(self.guests)].name
            self._network.refuse(name, step.b % 3 != 0)

    def _narrow(self, step: Step) -> None:
        """Few messages may be on their way in a conversation."""
        self._network.peer_limit = 1 + step.a % 5
