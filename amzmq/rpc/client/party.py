"""What a `Client` and a `Subscriber` have in common: addresses, timings, a life."""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import Self

from amzmq.errors import NotConnected
from amzmq.machine import Machine, Result
from amzmq.net import Transport
from amzmq.rpc.client.connection import Connection
from amzmq.rpc.client.options import ClientOptions
from amzmq.rpc.client.talk import Talk
from amzmq.states import ClientStates


class Party(ABC):
    """Has one conversation with a source; only a part, never used alone.

    Args:
        addr: The Mux's address, or several that are tried in turn.
        name: Names it, ``rc-<name>``; random when empty.
        parent: The machine its own one belongs to.
        options: Its timings and limits.

    Attributes:
        mach: Its own state machine (`ClientStates`).
        options: Its timings and limits.
    """

    def __init__(
        self, addr: str | Sequence[str], name: str, parent: Machine | None, options: ClientOptions
    ) -> None:
        self._addrs = (addr,) if isinstance(addr, str) else tuple(addr)
        self._at = 0  # which of them
        if not self._addrs or not all(self._addrs):
            raise NotConnected("addr is empty; give the Mux's address, e.g. 'tcp://127.0.0.1:7701'")
        self.options = options
        self.mach = Machine(
            ClientStates,
            id=client_id(name or secrets.token_hex(3)),
            parent=parent,
            tags=["rpc-client", f"addr:{self.addr}"],
            # Its handlers open and close sockets; on a busy host that may take a while, and
            # undoing a state for it would leave the connection half made.
            handler_timeout=10.0,
        )
        self._transport: Transport | None = None
        self._connection: Connection | None = None

    # Life.

    @abstractmethod
    def start(self) -> Result:
        """Begin to connect; Ready in `mach` tells of the success."""

    @abstractmethod
    async def stop(self) -> None:
        """Say goodbye, close the connection, let go of what was followed."""

    @abstractmethod
    def gave_up(self) -> None:
        """The connection will not come back: end what waits for it."""

    @property
    @abstractmethod
    def is_stale(self) -> bool:
        """Whether a node on the way to what is followed has lost its own source."""

    def tell_stale(self) -> None:
        """Show by the state Stale whether that is so."""
        if self.mach.is_("Ready") and self.is_stale:
            self.mach.add("Stale")
        else:
            self.mach.remove("Stale")

    def beat(self) -> None:
        """The feed's heartbeat arrived, by any of the streams that are followed."""
        self.conversation.pulse.felt()

    @property
    @abstractmethod
    def conversation(self) -> Talk:
        """What is said to the source, and by it."""

    async def ready(self) -> None:
        """Wait until what is followed is level with the source for the first time.

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
        raise self._connected_by().why_not()

    def _connected_by(self) -> Connection:
        assert self._connection is not None, "not started"
        return self._connection

    async def __aenter__(self) -> Self:
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

    async def _say_goodbye(self) -> None:
        if self.mach.is_("Connected"):
            self.mach.add("Disconnecting")
            await self.mach.when_not("Disconnecting")
        self.mach.dispose()
        await self.mach.when_disposed()

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
    def transport(self) -> Transport:
        """What carries the frames."""
        assert self._transport is not None, "not started"
        return self._transport


def client_id(name: str) -> str:
    """The id of a client's machine, by which the source knows it."""
    return f"rc-{name}"


async def _wait(wait: Awaitable[object]) -> None:
    await wait
