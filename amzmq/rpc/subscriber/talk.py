"""What is said between a subscriber and a source: one conversation about many machines.

subscriber                                source
List   ─────────────────────────────────►       if it is to be all that there are
◄─────────────────────────────── Listing
Hello  ─────────────────────────────────►       for the first machine
◄─────────────────────────────── Welcome
Follow ─────────────────────────────────►       for each of the others, all at once
◄────────────────────────────── Followed
Sync   ─────────────────────────────────►       for each, once its stream arrives
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from amzmq.errors import AmzmqError, FrameInvalid, NotConnected, Refused, RpcError
from amzmq.rpc.client.calls import refusal
from amzmq.rpc.client.connection import Connection
from amzmq.rpc.client.talk import Talk, reachable
from amzmq.rpc.replica.follower import Follower
from amzmq.rpc.subscriber.followed_machine import FollowedMachine
from amzmq.wire.control import (
    NEWS,
    PROTOCOL_VERSION,
    Bye,
    CatchUp,
    Directed,
    Followed,
    Hello,
    Listing,
    Message,
    NsReport,
    Ping,
    Refusal,
    RefusalCode,
    SnapshotReply,
    Sync,
    Unfollow,
    Welcome,
)

if TYPE_CHECKING:
    from amzmq.rpc.subscriber.subscriber import Subscriber

_log = logging.getLogger("amzmq.client")

QUESTIONS_KEPT = 4096
"""Questions without an answer yet; a machine has one open at a time, and asks again later."""


class SubscriberTalk(Talk):
    """A subscriber's end of the conversation.

    Args:
        subscriber: Whose it is.
        connection: Carries it.
        incarnation: 8 random bytes of the subscriber; a reconnect keeps them.

    Attributes:
        news: Set when there may be machines to follow that are not followed.
        refused: Machines that the source would not let us follow.
    """

    def __init__(self, subscriber: Subscriber, connection: Connection, incarnation: bytes) -> None:
        super().__init__(subscriber.mach.id, connection)
        self.news = asyncio.Event()
        self.refused = 0
        self._subscriber = subscriber
        self._incarnation = incarnation
        self._feed = ""
        self._first: FollowedMachine | None = None
        self._left: list[str] = []  # whom to say Hello for, if the first is not to be had
        self._last_request = 0
        self._follows: dict[int, tuple[FollowedMachine, asyncio.Future[None]]] = {}
        self._questions: OrderedDict[int, tuple[FollowedMachine, int]] = OrderedDict()

    def end(self) -> None:
        """Nothing more will be said."""
        super().end()
        for _, future in self._follows.values():
            future.cancel()

    @property
    def first(self) -> FollowedMachine | None:
        """The machine of the Hello; payloads for this subscriber alone follow its states."""
        return self._first

    # How it goes.

    async def introduce(self) -> None:
        """Say Hello for the first machine; the others follow with the Welcome.

        Raises:
            TimeoutError: The connection is lost again, or there is nothing to follow yet.
        """
        self._left = list(await self._wanted())
        if not self._left:
            _log.info("[%s] %s serves nothing that may be followed", self._name, self._addr)
            raise TimeoutError
        self._say_hello()

    async def _wanted(self) -> Sequence[str]:
        wanted = self._subscriber.wanted
        if wanted is not None:
            return wanted
        try:
            infos = await self.machines(self._subscriber.options.call_timeout)
        except NotConnected as error:
            raise TimeoutError from error
        return [info.id for info in infos]

    def _say_hello(self) -> None:
        self._first = self._subscriber.machine(self._left.pop(0))
        hello = Hello(
            PROTOCOL_VERSION, self._name, self._incarnation, b"", capabilities=[NEWS]
        )  # fmt: skip
        self._connection.send(self._first.hello(hello))

    async def fed(self) -> None:
        """Wait until the feed arrives, of each machine."""
        await self._for_each(lambda it: it.follower.arrived(it, self.heartbeat))

    async def catch_up(self, timeout: float) -> None:
        """Get level with the source.

        Raises:
            TimeoutError: It did not answer in time.
        """
        await self._for_each(lambda it: it.follower.begin(it, it.following.epoch, timeout))

    async def _for_each(self, step: Callable[[FollowedMachine], Awaitable[None]]) -> None:
        try:
            await _all(step, [it for it in self._subscriber.followed if it.is_followed])
        except NotConnected as error:  # the source ended one of them meanwhile
            raise TimeoutError from error

    async def let_go(self) -> None:
        """Release what was followed before."""
        for machine in self._subscriber.followed:
            await machine.following.close()

    def established(self) -> None:
        """Level with the source."""
        self._subscriber.level()

    def ping(self) -> Ping:
        """How far the replicas are."""
        first = self._first
        others = [it for it in self._subscriber.followed if it.is_followed and it is not first]
        positions: list[object] = [[it.follower.stream_id, it.follower.number] for it in others]
        number = -1 if first is None or not first.is_followed else first.follower.number
        return Ping(number, self._subscriber.deliveries.failed, positions or None)

    def sources_heard(self) -> Iterable[tuple[str, float, int]]:
        """The source, and the feed: its last frame of any machine."""
        yield self._addr, self.heard_at, self.pulse.every
        frames = [it.follower.last_frame_at for it in self._subscriber.followed if it.is_followed]
        if frames:
            yield f"the feed of {self._addr}", max(frames), 1

    @property
    def feed(self) -> str:
        """The feed's endpoint."""
        return self._feed

    def followers(self) -> Iterable[Follower]:
        """One for each machine that is followed."""
        return [it.follower for it in self._subscriber.followed if it.is_followed]

    def pause(self) -> None:
        """The connection is gone: no machine can ask by it."""
        super().pause()
        for machine in self._subscriber.followed:
            machine.pause()
        self._questions.clear()
        follows, self._follows = self._follows, {}
        for _, future in follows.values():
            _fail(future, NotConnected(f"{self._addr} was lost"))

    # More machines, later.

    async def follow(self, timeout: float) -> list[str]:
        """Follow what is wanted and not followed yet; returns the ids of what is now.

        Raises:
            NotConnected: The source is not there, or did not answer.
        """
        begun: list[FollowedMachine] = []
        try:
            wanted = [self._subscriber.machine(id) for id in await self._wanted()]
            new = [machine for machine in wanted if not machine.is_followed]
            futures = {machine: self._ask_for(machine) for machine in new}
            async with asyncio.timeout(timeout):
                for machine, future in futures.items():
                    try:
                        await future
                    except Refused as error:
                        _log.warning("[%s] %s: %s", self._name, machine.id, error)
                    else:
                        begun.append(machine)
                await _all(lambda it: it.follower.arrived(it, self.heartbeat), begun)
            await _all(lambda it: it.follower.begin(it, it.following.epoch, timeout), begun)
        except TimeoutError:
            raise NotConnected(f"{self._addr} did not answer in time") from None
        self._subscriber.level()
        return [machine.id for machine in begun]

    def _ask_for(self, machine: FollowedMachine) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        request = self._next_request()
        self._follows[request] = machine, future
        self._connection.send(machine.follow(request))
        return future

    def _next_request(self) -> int:
        self._last_request += 1
        return self._last_request

    def ask(self, machine: FollowedMachine, message: Sync) -> bool:
        """Put a question about a machine; the number under which it goes tells its answer."""
        request = self._next_request()
        self._questions[request] = machine, message.request
        if len(self._questions) > QUESTIONS_KEPT:
            self._questions.popitem(last=False)
        return self._connection.send(message._replace(request=request))

    # What the source says.

    def _heard(self, message: Message, blobs: Sequence[bytes]) -> None:
        if isinstance(message, NsReport):
            pass  # of somebody who mutates
        elif isinstance(message, (CatchUp, SnapshotReply)):
            self._on_answer(message)
        elif isinstance(message, Followed):
            self._on_followed(message)
        elif isinstance(message, Welcome):
            self._on_welcome(message)
        elif isinstance(message, Refusal):
            self._on_refusal(message)
        elif isinstance(message, Bye):
            self._on_bye(message)
        elif isinstance(message, Directed):
            self._subscriber.take_directed(message)
        elif isinstance(message, Unfollow):
            self._on_unfollow(message)
        elif isinstance(message, Listing) and message.request == 0:
            self.news.set()
        elif isinstance(message, Listing):
            self._on_listing(message)
        else:
            self._count_garbage(f"{type(message).__name__} is not for a subscriber")

    def _on_answer(self, message: CatchUp | SnapshotReply) -> None:
        asked = self._questions.pop(message.request, None)
        if asked is None:
            return  # of a question that was given up meanwhile
        machine, request = asked
        message = message._replace(request=request)
        if isinstance(message, CatchUp):
            machine.follower.on_catch_up(message)
        else:
            machine.follower.on_snapshot(message)

    def _on_welcome(self, message: Welcome) -> None:
        first = self._first
        if first is None or first.is_followed:
            return  # of a Hello that was repeated
        self._feed = reachable(message.feed, self._addr)
        epoch = self._take(first, message)
        if epoch is None:
            return
        if not (message.resumed and message.epoch == epoch):
            self._subscriber.deliveries.start_over()
        self._connection.request_limit = message.request_limit
        self.heartbeat = message.heartbeat_ms / 1000
        for id in self._left:
            self._ask_for(self._subscriber.machine(id)).add_done_callback(self._one_more)
        self._one_more(None)

    def _one_more(self, future: asyncio.Future[None] | None) -> None:
        """The answer for one of the machines is there; with the last one, we are welcome."""
        error = None if future is None or future.cancelled() else future.exception()
        if isinstance(error, NotConnected):
            return
        if isinstance(error, RpcError) and not self._connection.connects:
            self._connection.send(Bye("all of the machines, or none"))
            self._connection.fail(error)
            return
        if error is not None:
            _log.warning("[%s] %s", self._name, error)
        if not self._follows:
            self._connection.welcomed()

    def _on_followed(self, message: Followed) -> None:
        asked = self._follows.pop(message.request, None)
        if asked is None:
            return
        machine, future = asked
        if self._take(machine, message) is not None and not future.done():
            future.set_result(None)

    def _take(self, machine: FollowedMachine, message: Welcome | Followed) -> bytes | None:
        """Follow the stream that the source tells of; its former epoch, if that went well."""
        try:
            epoch = machine.welcomed(message, self._feed)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return None
        except AmzmqError as error:
            self._connection.fail(error)
            return None
        return epoch

    def _on_refusal(self, message: Refusal) -> None:
        mach = self._subscriber.mach
        if message.code == RefusalCode.STOPPING:
            self._connection.said_bye(message.reason)
        elif message.code == RefusalCode.NO_SESSION:
            if mach.is_("HandshakeDone"):
                mach.add("Handshaking")
        elif (asked := self._follows.pop(message.request, None)) is not None:
            self.refused += 1
            _fail(asked[1], refusal(message.code, message.reason))
        elif message.request:
            if (question := self._questions.pop(message.request, None)) is not None:
                question[0].pause()  # it has ended, and the word of that was lost
                self.news.set()
        elif message.code == RefusalCode.UNREACHABLE:
            self._connection.said_bye(message.reason)
        elif message.code == RefusalCode.MACHINE_UNKNOWN and self._left:
            self.refused += 1
            _log.warning("[%s] %s", self._name, message.reason)
            self._say_hello()
        elif message.code == RefusalCode.MACHINE_UNKNOWN and self._connection.connects:
            self._connection.said_bye(message.reason)  # it may be served again
        else:
            self._connection.fail(refusal(message.code, message.reason))

    def _on_unfollow(self, message: Unfollow) -> None:
        for machine in self._subscriber.followed:
            if machine.is_followed and machine.follower.stream_id == message.stream_id:
                _log.info("[%s] %s: %s", self._name, machine.id, message.reason)
                machine.pause()
                self.news.set()

    @property
    def _addr(self) -> str:
        return self._connection.addr


def _fail(future: asyncio.Future[None], error: RpcError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever waited may have given up


async def _all(
    step: Callable[[FollowedMachine], Awaitable[None]], machines: Sequence[FollowedMachine]
) -> None:
    """Take a step with all machines at once; the first one that fails ends it.

    Raises:
        TimeoutError: One of them took too long.
    """

    async def take(machine: FollowedMachine) -> None:
        await step(machine)

    try:
        async with asyncio.TaskGroup() as group:
            for machine in machines:
                group.create_task(take(machine))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
