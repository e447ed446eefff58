"""The machines at any number of addresses, each with a client of its own.

Every address has a task that lists the machines there, again and again, and owns their clients.
So machines that come later are found, and those that went are let go of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from amzmq.cli.repl.entry import Entry
from amzmq.errors import AmzmqError
from amzmq.machine import Machine
from amzmq.rpc.client.client import Client
from amzmq.rpc.listing import MachineInfo
from amzmq.states.basic import BasicStates
from amzmq.states.connpool import ConnPoolStates

_log = logging.getLogger("amzmq.repl")

Find = Callable[[str], Awaitable[list[MachineInfo]]]
"""Lists the machines at an address."""

Connect = Callable[[str, str], Client]
"""Makes a client of a machine: the address, the machine's id."""

RETRY_PAUSE = 0.25
"""Seconds between two looks, at most, at an address that did not answer."""

FIRST_READY = "."
"""Stands for the first machine that is ready."""


class MachineUnknown(AmzmqError):
    """No machine of that name, or several; the message lists what there is."""


class PoolStates(BasicStates, ConnPoolStates):
    """Connected while any machine is, ConnectedFully while all are, at every address."""


@dataclass(slots=True)
class _Place:
    """An address: its machines, why it could not be reached, its task."""

    entries: dict[str, Entry] = field(default_factory=dict)
    failure: AmzmqError | None = None
    listed: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Machines:
    """Follows every machine at the addresses it is told of; an async context manager.

    Args:
        find: Lists the machines at an address.
        connect: Makes a client, not started.
        interval: Seconds between two listings of an address.

    Attributes:
        mach: Its own state machine (`PoolStates`).
    """

    def __init__(self, find: Find, connect: Connect, interval: float = 1.0) -> None:
        self.mach = Machine(PoolStates, id="repl", tags=["repl"])
        self._find = find
        self._connect = connect
        self._interval = interval
        self._places: dict[str, _Place] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Machines:
        await self._tasks.__aenter__()
        self.mach.add("Start", "Connecting")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.mach.add("Disconnecting")
        self.follow(())
        try:
            # Not told of an error in the block: it would wrap that in a group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            self.mach.dispose()

    # What is followed.

    def follow(self, addrs: Collection[str]) -> None:
        """Follow the machines at these addresses and at no others."""
        for addr in [addr for addr in self._places if addr not in addrs]:
            place = self._places.pop(addr)
            assert place.task is not None
            place.task.cancel()
        for addr in addrs:
            if addr not in self._places:
                place = self._places[addr] = _Place()
                place.task = self._tasks.create_task(self._attend(addr, place), name=f"repl {addr}")
        self._update()

    def reconnect(self) -> None:
        """Look again at every address now; clients that gave up are made anew."""
        for place in self._places.values():
            place.wake.set()

    async def settled(self, timeout: float) -> bool:
        """Wait until every machine at every address is connected.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it came so far.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.mach.when("ConnectedFully")
        except TimeoutError:
            return False
        return True

    # What there is.

    @property
    def addrs(self) -> list[str]:
        """The addresses followed."""
        return list(self._places)

    @property
    def failures(self) -> dict[str, AmzmqError]:
        """The addresses that did not answer last time, and why."""
        return {
            addr: place.failure for addr, place in self._places.items() if place.failure is not None
        }

    def entries(self) -> list[Entry]:
        """The machines, by address and in the order served there."""
        return [entry for place in self._places.values() for entry in place.entries.values()]

    def name_of(self, entry: Entry) -> str:
        """What the user may call it: its id, with its address where others have that id too."""
        namesakes = [other for other in self.entries() if other.id == entry.id]
        return entry.id if len(namesakes) == 1 else f"{entry.id}@{entry.addr}"

    def named(self, name: str) -> Entry:
        """The machine of this name; "." is the first that is ready.

        Raises:
            MachineUnknown: There is none, or more than one.
        """
        entries = self.entries()
        if name == FIRST_READY:
            found = [entry for entry in entries if entry.is_ready][:1]
        else:
            found = [e for e in entries if name in (e.id, f"{e.id}@{e.addr}")]
        if len(found) == 1:
            return found[0]
        known = " ".join(map(self.name_of, found or entries)) or "none"
        problem = "several machines are" if found else "no machine is"
        wanted = "ready" if name == FIRST_READY else f"called {name!r}"
        raise MachineUnknown(f"{problem} {wanted}; there are: {known}")

    # One address.

    async def _attend(self, addr: str, place: _Place) -> None:
        """List the machines there again and again; they are let go of when this ends."""
        try:
            while True:
                try:
                    infos = await self._find(addr)
                except AmzmqError as error:
                    if place.failure is None:
                        _log.info("%s: %s", addr, error)
                    place.failure = error
                else:
                    place.failure = None
                    await self._adopt(addr, place, infos)
                    place.listed = True
                self._update()
                await self._pause(place)
        finally:
            await asyncio.gather(*(entry.client.stop() for entry in place.entries.values()))
            self._update()

    async def _pause(self, place: _Place) -> None:
        seconds = self._interval
        if place.failure is not None:
            seconds = min(seconds, RETRY_PAUSE)
        try:
            async with asyncio.timeout(seconds):
                await place.wake.wait()
        except TimeoutError:
            return  # time to look again
        place.wake.clear()

    async def _adopt(self, addr: str, place: _Place, infos: Sequence[MachineInfo]) -> None:
        """Follow exactly the machines listed; a client that gave up is replaced."""
        listed = {info.id: info for info in infos}
        for id, entry in list(place.entries.items()):
            if id not in listed or not entry.client.mach.is_("Start"):
                del place.entries[id]
                await entry.client.stop()
        for id, info in listed.items():
            if id in place.entries:
                place.entries[id].info = info
                continue
            client = self._connect(addr, id)
            place.entries[id] = Entry(addr, info, client)
            client.mach.bind({"AnyState": lambda event: self._update()}, id="repl")
            client.start()

    def _update(self) -> None:
        """Tell by the own machine how far it is."""
        if self.mach.is_disposed or self.mach.is_("Disconnecting"):
            return
        ready = [entry.is_ready for entry in self.entries()]
        complete = all(place.listed for place in self._places.values()) and not self.failures
        now = {"Connected": any(ready), "ConnectedFully": any(ready) and all(ready) and complete}
        if arrived := [state for state, holds in now.items() if holds]:
            self.mach.add(*arrived)
        if lost := [state for state, holds in now.items() if not holds and self.mach.is_(state)]:
            self.mach.remove(*lost)
