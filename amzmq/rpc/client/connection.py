"""The life of a client's connection, as handlers of its state machine (spec rpc 2.5).

    Start ─► Connecting ─► Connected + Handshaking ─► HandshakeDone ─► Ready
                 ▲                  │                        │
                 │                  ▼                        ▼
            RetryingConn ◄──── Disconnected ◄────────── (lost, silent)
                 │
                 ▼
          ConnRetryFailed (gave up; Start ends)

Every step that takes time is an async handler: a task that ends with its state. So a state
that is left takes its work with it, and nothing has to be undone by hand.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from amzmq.errors import AmzmqError, ConnectFailed, FrameTooLarge, NotConnected, RpcError
from amzmq.machine import Event
from amzmq.wire.control import Bye, Message
from amzmq.wire.control_frames import to_frame

if TYPE_CHECKING:
    from amzmq.net import Dealer
    from amzmq.rpc.client.party import Party

_log = logging.getLogger("amzmq.client")

MISSED_BEATS = 3
"""Heartbeats after which a silent source counts as gone."""


class Connection:
    """The sockets of a client, and the handlers that open, watch and close them.

    Args:
        client: Whose connection it is.

    Attributes:
        attempts: Connections tried since the last success, for the final error.
        connects: Conversations that became Ready.
        request_limit: Bytes of the largest request that the source reads; 0 if unknown.
        failure: Why the source refuses for good; None otherwise.
    """

    def __init__(self, client: Party) -> None:
        self.attempts = 0
        self.connects = 0
        self.request_limit = 0
        self.failure: RpcError | None = None
        self._client = client
        self._mach = client.mach
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()  # nosec B311  # only spreads waits
        self._dealer: Dealer | None = None
        self._welcomed: asyncio.Future[None] | None = None
        self._is_sent_away = False
        self._is_fed = True
        self._opened: asyncio.Future[None] | None = None
        # One episode of retries lasts until a handshake is done: a source that accepts
        # connections and never answers is given up like one that is not there.
        self._delays: Iterator[float] | None = None
        self._retrying_since = 0.0

    @property
    def addr(self) -> str:
        """The address that is connected to, or tried now."""
        return self._client.addr

    def begin(self) -> None:
        """The client is started, perhaps again."""
        self.failure = None
        self.attempts = 0
        self._delays = None
        self._is_sent_away = False

    def send(self, message: Message) -> bool:
        """Send a message; False when there is no connection.

        Raises:
            FrameTooLarge: It is larger than the source reads.
        """
        if self._dealer is None:
            return False
        frame = to_frame(message)
        if 0 < self.request_limit < len(frame):
            raise FrameTooLarge(
                f"a request of {len(frame)} bytes; the source reads at most "
                f"{self.request_limit}: pass less in its arguments"
            )
        return self._dealer.send(frame)

    # Connecting.

    async def ConnectingState(self, e: Event) -> None:
        """Open the conversation; the feed follows once its address is known."""
        self._close_dealer()
        if self.attempts or self._is_sent_away:
            self._client.next_addr()
        self._is_sent_away = False
        self.attempts += 1
        opened = self._opened = self._loop.create_future()
        client = self._client
        try:
            transport = client.transport
            self._dealer = transport.dealer(
                client.addr, client.conversation.on_message, self._on_connected
            )
            async with asyncio.timeout(client.options.conn_timeout):
                await opened
        except TimeoutError:
            error = NotConnected(f"nobody answers at {client.addr}")
            self._mach.add("Disconnected")
            self._mach.add_err_state("ErrNetwork", error)
        except AmzmqError as error:
            self.fail(error)

    def _on_connected(self, connected: bool) -> None:
        if connected:
            if self._opened is not None and not self._opened.done():
                self._opened.set_result(None)
                self._mach.add("Connected")
        elif self._mach.is_("Connected"):
            self._lost(NotConnected(f"the connection to {self._client.addr} was lost"))

    def _lost(self, error: NotConnected) -> None:
        _log.info("[%s] %s", self._mach.id, error)
        self._mach.add("Disconnected")
        self._mach.add_err_state("ErrNetwork", error)

    def said_bye(self, reason: str) -> None:
        """The source ends the conversation as planned; it may come back.

        It is told that its words arrived: it waits for that before it closes. A lost connection
        is tried again where it was; who says goodbye is not there for now.
        """
        self.send(Bye("heard"))
        self._is_sent_away = True
        self._lost(NotConnected(f"{self._client.addr} said goodbye: {reason}"))

    def fail(self, error: AmzmqError) -> None:
        """The source, or the address, will not have us: trying again is of no use."""
        self.failure = error if isinstance(error, RpcError) else RpcError(str(error))
        self.failure.__cause__ = error
        self._mach.add_err_state("ErrRpc", error)
        self._mach.add("ConnRetryFailed")

    def why_not(self) -> RpcError:
        """Why there is no connection, for those who waited for one."""
        if self.failure is not None:
            return self.failure
        client = self._client
        return ConnectFailed(
            f"no source at {client.addr}: gave up after {self.attempts} attempts of "
            f"{client.options.conn_timeout:g} s each; the last one: {self._mach.err()}. "
            "Is a Mux serving there?"
        )

    # Handshaking.

    async def HandshakingState(self, e: Event) -> None:
        """Hello, subscribe, and only then ask for what is missing."""
        client, talk = self._client, self._client.conversation
        timeout = client.options.call_timeout
        if client.options.hello_delay:
            await asyncio.sleep(client.options.hello_delay)
        self._is_fed = True
        try:
            await self._hello(timeout)
            self._is_fed = False
            async with asyncio.timeout(timeout):
                await talk.fed()
            self._is_fed = True
            await talk.catch_up(timeout)
            await talk.let_go()
        except TimeoutError:
            self._lost(NotConnected(self._silence()))
            return
        self.attempts = 0
        self.connects += 1
        self._delays = None
        talk.established()
        self._mach.add("HandshakeDone")
        client.tell_stale()

    async def _hello(self, timeout: float) -> None:
        """Say Hello until welcomed."""
        async with asyncio.timeout(timeout):
            self._welcomed = self._loop.create_future()
            try:
                await self._client.conversation.introduce()
                await self._welcomed
            finally:
                self._welcomed = None

    def welcomed(self) -> None:
        """The source has answered Hello."""
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_result(None)

    def _silence(self) -> str:
        if not self._is_fed:
            return (
                f"{self._client.addr} answers, but its feed {self._client.conversation.feed} is "
                "silent"
            )
        return f"{self._client.addr} is connected, but did not answer in time"

    # Connected.

    async def HandshakeDoneState(self, e: Event) -> None:
        """Beat, and notice when the source no longer does."""
        talk = self._client.conversation
        interval = talk.heartbeat
        talk.pulse.asked(1)  # until this source says otherwise
        self.send(talk.ping())
        while True:
            asleep = self._loop.time()
            await talk.pulse.beat(interval)
            now = self._loop.time()
            if talk.pulse.is_due():
                self.send(talk.ping())
            if now - asleep > 2 * interval:
                continue  # this loop was blocked: what the source sent waits unread
            for what, heard, beats in talk.sources_heard():
                if now - heard > MISSED_BEATS * beats * interval:
                    self._lost(NotConnected(f"{what} was silent for {now - heard:.1f} s"))
                    return

    def HandshakeDoneEnd(self, e: Event) -> None:
        """Nobody to ask until the next handshake."""
        self._client.conversation.pause()

    # Disconnecting and coming back.

    def DisconnectedState(self, e: Event) -> None:
        """Close, and try again unless that is not wanted."""
        self._close_dealer()
        self._client.conversation.pause()
        if not self._mach.is_("Start"):
            return
        before = e.transition.clock_before if e.transition is not None else {}
        was_up = any(before.get(state, 0) & 1 for state in ("Connecting", "Connected"))
        if was_up and self._client.options.reconnect:
            self._mach.add("RetryingConn")
        elif was_up:
            self._mach.add("ConnRetryFailed")

    async def RetryingConnState(self, e: Event) -> None:
        """Try again, ever more patiently, until it works or the policy ends it."""
        policy = self._client.options.conn_retry
        if self._delays is None:
            self._delays = policy.delays(self._rng)
            self._retrying_since = self._loop.time()
        for delay in self._delays:
            if policy.timeout and self._loop.time() - self._retrying_since > policy.timeout:
                break
            await asyncio.sleep(delay)
            self._mach.add("Connecting")
            await self._mach.when_not("Connecting")
        self._mach.remove("RetryingConn")
        self._mach.add("ConnRetryFailed")

    def RetryingCallEnter(self, e: Event) -> bool:
        """Calls are tried again only while there is, or will be, a connection."""
        return self._mach.any_("Connected", "RetryingConn")

    def CallRetryFailedState(self, e: Event) -> None:
        """A call was given up; the state only ticks."""
        self._mach.remove("CallRetryFailed", event=e)

    def HealthcheckState(self, e: Event) -> None:
        """Looks whether the connection is in one of its states, and mends that."""
        self._mach.remove("Healthcheck", event=e)
        if not self._mach.any_("Connecting", "Connected", "Disconnecting", "Disconnected"):
            self._mach.add("Disconnected", event=e)

    def ConnRetryFailedState(self, e: Event) -> None:
        """Gave up: what waits for a reply will not get one."""
        self._client.gave_up()

    def ExceptionState(self, e: Event) -> None:
        """Errors of a client are transient: logged, and gone."""
        _log.debug("[%s] error: %r", self._mach.id, e.error)
        self._mach.remove("Exception", event=e)

    async def DisconnectingState(self, e: Event) -> None:
        """Say goodbye, and give it a moment to leave."""
        self.send(Bye("the client stops"))
        await asyncio.sleep(self._client.options.disconn_cooldown)
        self._mach.add("Disconnected")

    def StartEnd(self, e: Event) -> None:
        """Stopped."""
        self._close_dealer()
        self._client.conversation.pause()

    def _close_dealer(self) -> None:
        if self._dealer is not None:
            self._dealer.close()
        self._dealer = None
