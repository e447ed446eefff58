"""The blocking client: `amzmq.Client` for programs without asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from amzmq.blocking.blobs import BlobIterator
from amzmq.blocking.line import Line
from amzmq.blocking.netmach import NetworkMachine
from amzmq.blocking.payloads import PayloadIterator
from amzmq.blocking.signature import same_arguments
from amzmq.machine import Machine, Result, Time
from amzmq.rpc.backlog import BACKLOG_LIMIT
from amzmq.rpc.blobs.offer import ITERATOR_LIMIT
from amzmq.rpc.client.client import Client as AioClient
from amzmq.rpc.client.options import ClientOptions
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.payload import Payload
from amzmq.wire.control import NsReport
from amzmq.wire.view import View


class Client:
    """Follows one machine; takes the arguments of `amzmq.Client`, and has its names.

    Its calls block, from any number of threads at once. The event loop runs on a background
    thread, which all blocking clients and muxes of the process share, and which ends with the
    last of them; so end each one: with ``with``, or `stop`.

    Handlers, tracers, payload callbacks and a `consumer` run on that thread. There a call that
    blocks raises `BlockingWait`, as it does on the thread of any other event loop.

    >>> def follow(addr: str) -> None:
    ...     with Client(addr, name="reader") as client:
    ...         client.net_mach.add("Start")
    ...         client.net_mach.when("Ready").wait(5)
    ...         print(client.net_mach)
    """

    @same_arguments(AioClient.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._aio = AioClient(*args, **kwargs)
        self._line = Line(f"blocking client {self._aio.mach.id}", self._aio.stop)
        self._net: NetworkMachine | None = None

    @property
    def aio(self) -> AioClient:
        """The client behind this one; to be used on the loop thread only."""
        return self._aio

    # Life.

    def start(self) -> Result:
        """Begin to connect; Ready in `mach` tells of the success. To be ended by `stop`.

        Raises:
            NotConnected: It was stopped already.
            ForkedError: It was started before a fork.
        """
        if self._line.is_open:
            return self._line.call("start()", self._aio.start)
        try:
            self._line.open()
            return self._line.call("start()", self._aio.start)
        except BaseException:
            self._line.close()
            raise

    def ready(self, timeout: float | None = None) -> None:
        """Wait until the replica is level with the source for the first time.

        Args:
            timeout: Seconds; None waits for what the `conn_*` options allow.

        Raises:
            ConnectFailed: It cannot be; the message says what was tried.
            Refused: The source does not want this client.
            TimedOut: It was not within `timeout`.
        """
        self._line.run("ready()", self._aio.ready, timeout)

    def stop(self) -> None:
        """Say goodbye, close the connection, let go of the replica; waits and payloads end."""
        self._line.close()

    def __enter__(self) -> Client:
        try:
            self._line.open()
            self._line.run("with", self._aio.__aenter__)
        except BaseException:
            self._line.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # What can be seen.

    @property
    def mach(self) -> Machine:
        """The client's own state machine (`ClientStates`)."""
        return self._aio.mach

    @property
    def net_mach(self) -> NetworkMachine:
        """The replica.

        Raises:
            NotConnected: The source has not been reached yet.
        """
        replica = self._aio.net_mach
        net = self._net
        if net is None or net.aio is not replica:
            net = self._net = NetworkMachine(self._line, replica)
        return net

    @property
    def addr(self) -> str:
        """The Mux's address."""
        return self._aio.addr

    @property
    def addrs(self) -> tuple[str, ...]:
        """All addresses, in the order in which they are tried."""
        return self._aio.addrs

    @property
    def view(self) -> View:
        """What of the machine is followed."""
        return self._aio.view

    @property
    def is_partial(self) -> bool:
        """Whether only some of the source's states are followed."""
        return self._aio.is_partial

    @property
    def ns(self) -> NsReport:
        """What became of the mutations without reply, as far as the source has reported."""
        return self._aio.ns

    @property
    def consumer(self) -> Machine | None:
        """The machine that gets WorkerPayload for each payload."""
        return self._aio.consumer

    @property
    def options(self) -> ClientOptions:
        """How patient the client is."""
        return self._aio.options

    @property
    def epoch(self) -> bytes:
        """Of the source."""
        return self._aio.epoch

    @property
    def heartbeat(self) -> float:
        """Seconds between heartbeats, as the source wants it."""
        return self._aio.heartbeat

    @property
    def last_msg_at(self) -> float:
        """When the last message came, in `time.monotonic` seconds; 0 before the first."""
        return self._aio.last_msg_at

    @property
    def call_count(self) -> int:
        """Calls sent, retries included."""
        return self._aio.call_count

    def metrics(self) -> dict[str, int]:
        """All counters by name; they only ever grow."""
        return self._line.call("metrics()", self._aio.metrics)

    def sync(self, timeout: float | None = None) -> Time:
        """Catch up with everything the source did so far; e.g. after `add_ns`.

        Args:
            timeout: Seconds; None waits for the `call_timeout`.

        Returns:
            The machine time then.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
            TimedOut: It did not answer within `timeout`.
        """
        return self._line.run("sync()", self._aio.sync, timeout)

    def machines(self, timeout: float | None = None) -> list[MachineInfo]:
        """Which machines the source's Mux serves; raises as `sync` does."""
        return self._line.run("machines()", self._aio.machines, timeout)

    def args(self, timeout: float | None = None) -> tuple[str, ...]:
        """``Class.argument`` names of the typed arguments of the source; raises as `sync` does."""
        return self._line.run("args()", self._aio.args, timeout)

    # Payloads and blobs.

    def payloads(
        self, *names: str, limit: int = BACKLOG_LIMIT, timeout: float | None = None
    ) -> PayloadIterator:
        """Iterate over payloads as they come, of the given names or all.

        Args:
            names: Which kinds; all when empty.
            limit: How many are kept for a slow reader before the oldest is dropped and counted.
            timeout: Seconds that a ``for`` loop waits for the next one before it raises
                `TimedOut`; None waits as long as it takes.
        """
        iterator = self._line.call("payloads()", lambda: self._aio.payloads(*names, limit=limit))
        return PayloadIterator(self._line, iterator, timeout)

    def blobs(
        self, *names: str, limit: int = ITERATOR_LIMIT, timeout: float | None = None
    ) -> BlobIterator:
        """Iterate over blobs as they are offered; as `payloads`."""
        iterator = self._line.call("blobs()", lambda: self._aio.blobs(*names, limit=limit))
        return BlobIterator(self._line, iterator, timeout)

    def on_payload(self, callback: Callable[[Payload], None]) -> None:
        """Call `callback` on the loop thread for each payload, in order with the states."""
        self._line.call("on_payload()", lambda: self._aio.on_payload(callback))
