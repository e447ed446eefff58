"""A source and one client's server of it, without a network: what either says."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from amzmq.errors import (
    RemoteError,
)
from amzmq.machine import Machine, MutationType, Result, Source, State
from amzmq.rpc.server.counters import MuxCounters
from amzmq.rpc.server.feed import Feed, FeedOptions
from amzmq.rpc.server.limits import Guard, Limits
from amzmq.rpc.server.rights import MachineRights, Rights
from amzmq.rpc.server.server import ClientId, Server
from amzmq.rpc.server.sync_desk import SyncDesk
from amzmq.states import MuxStates
from amzmq.wire.control import Message, Mutate, Sync, Watch, WatchKind
from amzmq.wire.control_frames import from_frame
from amzmq.wire.journal import JournalLimits
from amzmq.wire.view import EVERYTHING, View

STATES = {
    "A": State(),
    "B": State(),
    "Never": State(require=["Absent"]),
    "Absent": State(),
    "ErrOnClient": State(require=["Exception"]),
}
NAMES = ("A", "B", "Never", "Absent", "ErrOnClient", "Exception")
A, B, NEVER, EXCEPTION = 0, 1, 2, 5
ADD = MutationType.ADD
ME = ClientId("rc-me", b"12345678", "ann")
TRACE = "line 1"

_M = TypeVar("_M", bound=Message)


class Slow(Machine):
    """A machine that answers when the test does; notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(STATES, id="src")
        self.futures: list[asyncio.Future[Result]] = []
        self.events: list[Source | None] = []

    def add(self, *states: Any, args: Any = None, event: Any = None, **more: Any) -> Any:
        self.events.append(event)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


class Replica:
    """A machine whose errors are handed on to its own source."""

    def __init__(self) -> None:
        self._machine = Machine(STATES, id="src")
        self.passed: list[tuple[object, ...]] = []
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def pass_err(
        self, state: str, error: RemoteError, trace: str, args: object, event: object
    ) -> asyncio.Future[Result]:
        self.passed.append((state, str(error), trace, args, event))
        return self.future


class Keeper:
    """Keeps nothing, and may hold up all mutations."""

    blocked = "the disk is full"

    def adopt(self, machine_id: str, reading: object) -> None:
        """Nothing is kept."""

    def stage(self, machine_id: str, reading: object) -> None:
        """Nothing is kept."""


class Desk:
    """A source, and what its servers say to one client."""

    def __init__(
        self,
        source: Machine | None = None,
        limits: Limits | None = None,
        rights: Rights | None = None,
        keeper: Any = None,
        snapshots_at_once: float = 100.0,
    ) -> None:
        self.source = source or Machine(STATES, id="src")
        self.rights = rights
        self.heard: list[Message] = []
        self.published: list[bytes] = []
        self.answering: list[Server] = []
        self.guard = Guard(limits or Limits())
        self.desk = SyncDesk(MuxCounters(), rate=1.0, burst=snapshots_at_once)
        self.mach = Machine(MuxStates, id="rm")
        self.keeper = keeper
        self.feed = self.feed_of(self.source)

    def feed_of(self, source: Machine) -> Feed:
        options = FeedOptions(self.published.extend, JournalLimits(), 1 << 20, keeper=self.keeper)
        return Feed(source, b"epoch-01", options)

    def server(self, view: View = EVERYTHING, feed: Feed | None = None) -> Server:
        feed = feed or self.feed
        rights = self.rights
        ask = None if rights is None else self._ask
        return Server(
            ME, feed, feed.join(view, ME.user), self._send, self.answering.append, self.mach,
            self.desk, self.guard, ask,
        )  # fmt: skip

    def _ask(self) -> MachineRights:
        assert self.rights is not None
        return self.rights.on(self.source.id, self.source.state_names)

    def _send(self, message: Message | bytes) -> None:
        self.heard.append(from_frame(message) if isinstance(message, bytes) else message)

    def answer(self) -> list[Message]:
        """The end of a turn; what was said since the last one."""
        self.feed.flush()
        for server in dict.fromkeys(self.answering):
            server.reply_all()
        self.answering.clear()
        said, self.heard = self.heard, []
        return said

    def only(self, kind: type[_M]) -> _M:
        """The one thing that is said at the end of this turn."""
        (said,) = self.answer()
        assert isinstance(said, kind), said
        return said


def mutate(request: int = 1, *called: int, kind: int = ADD, number: int = 0, **more: Any) -> Mutate:
    return Mutate(request, kind, list(called or (A,)), more.get("args"), number, more.get("source"))


def watch(request: int = 1, *called: int, **more: Any) -> Watch:
    kind = more.get("kind", WatchKind.ARGS)
    return Watch(request, kind, list(called), more.get("args"), more.get("number", 0))


def level(desk: Desk, server: Server) -> None:
    """After the handshake."""
    server.sync(Sync(1, b"", 0))
    desk.answer()
