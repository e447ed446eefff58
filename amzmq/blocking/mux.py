"""The blocking mux: `amzmq.Mux` for programs without asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from amzmq.blocking.blobs import Offer
from amzmq.blocking.line import Line
from amzmq.blocking.signature import same_arguments
from amzmq.errors import BlockingWait
from amzmq.machine import Event, Machine
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.counters import MuxCounters
from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.mux import Mux as AioMux
from amzmq.rpc.server.receipt import Receipt
from amzmq.rpc.server.sources import MakeFeedFn
from amzmq.wire.blobs import CHUNK_SIZE
from amzmq.wire.blobsource import BlobData
from amzmq.wire.codec import Value


class Mux:
    """Serves a machine; takes the arguments of `amzmq.Mux`, and has its names.

    The machine may be mutated from any thread; what changes is published from the loop thread,
    which is the one of `Client`. Mutations of clients run on that thread, with their handlers,
    unless another thread is at it already: a handler that takes its time holds up everybody.

    >>> def serve(machine: Machine) -> None:
    ...     with Mux(machine, bind="tcp://127.0.0.1:0") as mux:
    ...         print("serving at", mux.addr)
    ...         machine.when("Done").wait()
    """

    @same_arguments(AioMux.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._aio = AioMux(*args, **kwargs)
        self._line = self._new_line()

    def _new_line(self) -> Line:
        return Line(f"blocking mux {self._aio.mach.id}", self._aio.stop)

    @property
    def aio(self) -> AioMux:
        """The mux behind this one; to be used on the loop thread only."""
        return self._aio

    # Life.

    def start(self) -> None:
        """Bind both sockets and serve.

        A mux that could not may try again; a transport that it was given is closed then, though.

        Raises:
            AddressInUse: Somebody else listens there.
            AddressInvalid: Not an endpoint.
            NotConnected: It was stopped already.
            ForkedError: It was started before a fork.
        """
        if self._line.is_open:  # whatever is said of this one, it goes on serving
            self._line.run("start()", self._aio.start)
            return
        self._line.open()
        try:
            self._line.run("start()", self._aio.start)
        except BaseException:
            line, self._line = self._line, self._new_line()
            line.close()
            raise

    def stop(self, reason: str = "the source stops") -> None:
        """Flush, say goodbye to every client, close both sockets."""
        self._line.close(lambda: self._aio.stop(reason))

    def __enter__(self) -> Mux:
        self.start()
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
        """The mux's own state machine (`MuxStates`)."""
        return self._aio.mach

    @property
    def source(self) -> Machine | NetworkMachine:
        """The default machine.

        Raises:
            Refused: There is none.
        """
        return self._aio.source

    @property
    def sources(self) -> dict[str, Machine | NetworkMachine]:
        """The machines served, by the id that clients ask for; the first is the default."""
        return self._line.call("sources", lambda: self._aio.sources)

    def serve(self, machine: Machine | NetworkMachine, make_feed: MakeFeedFn = Feed) -> None:
        """Serve one more machine; a blocking replica is served by its `aio`.

        Args:
            machine: It.
            make_feed: Makes what publishes it; called on the loop thread.

        Raises:
            RpcError: A machine of its id is served already.
        """
        self._line.call("serve()", lambda: self._aio.serve(machine, make_feed))

    def unserve(self, machine_id: str) -> None:
        """Stop serving a machine: its clients are told Bye.

        Raises:
            Refused: No such machine is served.
        """
        self._line.call("unserve()", lambda: self._aio.unserve(machine_id))

    def machines(self) -> list[MachineInfo]:
        """What is served, as `list_machines` tells others."""
        return self._line.call("machines()", self._aio.machines)

    @property
    def new_server_err(self) -> BaseException | None:
        """Why the last client was turned away by `new_server`."""
        return self._aio.new_server_err

    @property
    def counters(self) -> MuxCounters:
        """What happened so far."""
        return self._aio.counters

    @property
    def addr(self) -> str:
        """Where clients connect to, with port 0 resolved.

        Raises:
            NotConnected: It does not serve.
        """
        return self._aio.addr

    @property
    def feed_addr(self) -> str:
        """Where the feed is published."""
        return self._aio.feed_addr

    @property
    def clients(self) -> dict[str, int]:
        """Client id to lag: messages published and not yet confirmed by its heartbeat."""
        return self._line.call("clients", lambda: self._aio.clients)

    @property
    def published(self) -> dict[str, int]:
        """How many updates, payloads and encodings the stream has seen."""
        return self._line.call("published", lambda: self._aio.published)

    def metrics(self) -> dict[str, int]:
        """All counters by name."""
        return self._line.call("metrics()", self._aio.metrics)

    def flush(self) -> None:
        """Publish what changed since the last flush, and return when it is handed to the sockets.

        Nobody has to: it is done at the loop's next turn anyway.
        """
        self._line.call("flush()", self._aio.flush)

    # Payloads and blobs.

    def send_payload(
        self,
        name: str,
        data: Value,
        destination: str | None = None,
        event: Event | None = None,
        *,
        machine: str = "",
    ) -> Receipt:
        """Send data to every follower of a machine, or to one client, in order with the states.

        On the thread of an event loop of your own it only hands the payload on; the receipt
        tells then of what would be raised here otherwise.

        Args:
            name: Which kind of payload, for the receiver.
            data: None, bool, int, float, str, bytes, and lists and dicts of these.
            destination: A client's id (``rc-<name>``) or its name; None is everybody.
            event: The event of the handler that sends it, for tracing.
            machine: Id of the machine whose followers get it; the default one if empty.

        Returns:
            Tells what became of it: `Receipt.result(timeout)` blocks, `token` names it.

        Raises:
            InvalidArgs: `data` has no form on the wire.
            FrameTooLarge: `data` does not fit into a frame.
            DestinationUnknown: There is no such client.
            LimitExceeded: The client leaves too many unconfirmed.
        """

        def send() -> Receipt:
            return self._aio.send_payload(name, data, destination, event, machine=machine)

        try:
            return self._line.call("send_payload()", send)
        except BlockingWait:
            return send()

    def send_blob(
        self,
        name: str,
        data: BlobData,
        destination: str | None = None,
        event: Event | None = None,
        *,
        machine: str = "",
        chunk_size: int = CHUNK_SIZE,
        timeout: float | None = None,
    ) -> Offer:
        """Offer bytes too many for a payload: bytes, a file's path, or a binary file.

        It blocks until all of them have been read once, for their digest; so it is not for the
        loop thread, nor for handlers that run there.

        Args:
            name: Which kind of payload, for the receiver.
            data: What to offer. A file must not change before the offer is closed.
            destination: A client's id (``rc-<name>``) or its name; None is everybody.
            event: The event of the handler that sends it, for tracing.
            machine: Id of the machine whose followers get it; the default one if empty.
            chunk_size: Bytes that travel at once.
            timeout: Seconds; None waits as long as reading takes.

        Returns:
            Tells who took it; `close` it when nobody needs it any more.

        Raises:
            InvalidArgs: `data` is no blob, or too many are offered.
            BlobDamaged: A file cannot be read to its end.
            DestinationUnknown: There is no such client.
            NotConnected: Not started, or stopped.
            TimedOut: It was not read within `timeout`.
            BlockingWait: This thread runs an event loop.
        """
        offer = self._line.run(
            "send_blob()",
            lambda: self._aio.send_blob(
                name, data, destination, event, machine=machine, chunk_size=chunk_size
            ),
            timeout,
        )
        return Offer(self._line, offer)
