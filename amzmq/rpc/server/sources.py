"""The machines that a Mux serves, each with its feed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from amzmq.errors import Refused, RpcError
from amzmq.machine import Event, Machine
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.payload import Payload
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.feed import Feed, FeedOptions
from amzmq.rpc.server.payload_state import PayloadState
from amzmq.rpc.server.persist import FsyncLike, Keeper, PathLike
from amzmq.rpc.server.receipt import Receipt
from amzmq.wire.codec import Value
from amzmq.wire.writer import StreamWriter

MakeFeedFn: TypeAlias = Callable[[Machine | NetworkMachine, bytes, FeedOptions], Feed]
"""Makes the feed of a machine: the machine, the epoch of its streams, how to publish it."""


class Sources:
    """Machines by the id that clients ask for; the first one is the default.

    Args:
        args: Classes of typed arguments of the machines' handlers.

    Attributes:
        keeper: Keeps the clocks of local machines in a file; None if nobody does.
    """

    def __init__(self, args: Iterable[type] = ()) -> None:
        self.keeper: Keeper | None = None
        self._args = arg_names(args)
        self._machines: dict[str, Machine | NetworkMachine] = {}
        self._makers: dict[str, MakeFeedFn] = {}
        self._feeds: dict[str, Feed] = {}
        self._payload_states: dict[str, PayloadState] = {}
        self._options: FeedOptions | None = None
        self._payload_state = ""
        self._send: Callable[[str, Value, str | None, Event], Receipt] | None = None

    @property
    def all(self) -> dict[str, Machine | NetworkMachine]:
        """The machines by id."""
        return dict(self._machines)

    @property
    def feeds(self) -> list[Feed]:
        """The feeds of the machines that are served now."""
        return list(self._feeds.values())

    def add(self, machine: Machine | NetworkMachine, make_feed: MakeFeedFn = Feed) -> None:
        """One more machine.

        Args:
            machine: It.
            make_feed: Makes what publishes it.

        Raises:
            RpcError: There is one of its id.
        """
        machine_id = served_id(machine)
        if machine_id in self._machines:
            raise RpcError(f"two machines {machine_id!r} to be served; ids tell them apart")
        self._machines[machine_id] = machine
        self._makers[machine_id] = make_feed

    def find(self, machine_id: str) -> Machine | NetworkMachine:
        """The machine of an id; "" is the default one.

        Raises:
            Refused: There is none.
        """
        if not machine_id and self._machines:
            return next(iter(self._machines.values()))
        machine = self._machines.get(machine_id)
        if machine is None:
            known = " ".join(self._machines) or "none"
            raise Refused(f"no machine {machine_id!r} here; there is: {known}")
        return machine

    def remove(self, machine_id: str) -> None:
        """Serve a machine no longer."""
        if machine_id in self._feeds:
            self._close(machine_id)
        self._machines.pop(machine_id, None)
        self._makers.pop(machine_id, None)

    def persist(self, path: PathLike | None, fsync: FsyncLike, mach: Machine) -> None:
        """Keep the clocks in a file, if there is a path; the arguments are those of `Keeper`."""
        if path is not None:
            self.keeper = Keeper(path, fsync, mach)

    # Feeds.

    def start(
        self,
        options: FeedOptions,
        payload_state: str,
        send: Callable[[str, Value, str | None, Event], Receipt],
    ) -> None:
        """Begin to publish all machines.

        Args:
            options: Of their feeds.
            payload_state: The state by which a machine sends payloads, if it has it.
            send: Sends them.

        Raises:
            PersistFailed: The clocks cannot be kept as asked.
        """
        self._options = options
        self._payload_state = payload_state
        self._send = send
        keeper, machines = self.keeper, self._machines.values()
        if keeper is not None:
            self._options = replace(options, send=keeper.guarding(options.send), keeper=keeper)
            keeper.open(machine.id for machine in machines if isinstance(machine, Machine))
        try:
            for machine in machines:
                self.open(machine)
            if keeper is not None:
                keeper.begin()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Publish what is unsaid, and then nothing more."""
        for machine_id in list(self._feeds):
            self._close(machine_id)
        if self.keeper is not None:
            self.keeper.close()

    def open(self, machine: Machine | NetworkMachine) -> Feed:
        """The feed of a machine, begun if it is not yet.

        Raises:
            Refused: Another machine of its id is served.
            PersistFailed: It is behind the clock that is kept of it.
        """
        machine_id = served_id(machine)
        feed = self._feeds.get(machine_id)
        if feed is not None:
            if feed.source is not machine:
                raise Refused(f"another machine {machine_id!r} is served here already")
            return feed
        assert self._options is not None
        if self.keeper is not None and isinstance(machine, Machine):
            self.keeper.restore(machine)
        make = self._makers.get(machine_id, Feed)
        feed = self._feeds[machine_id] = make(machine, secrets.token_bytes(8), self._options)
        if isinstance(machine, NetworkMachine):
            machine.on_payload(self._relay_payload)
            machine.blobs.on_offer(self._relay_payload)
        elif self._payload_state and machine.has(self._payload_state):
            assert self._send is not None
            self._payload_states[machine_id] = PayloadState(
                machine, self._payload_state, self._send
            )
        return feed

    def reopen(self, machine_id: str) -> None:
        """End the streams of a machine that is served, and begin others."""
        self._close(machine_id)
        self.open(self._machines[machine_id])

    def feed_of(self, machine_id: str) -> Feed | None:
        """The feed of a machine that is served now."""
        return self._feeds.get(machine_id)

    def stream(self, stream_id: bytes) -> StreamWriter | None:
        """The stream of an id."""
        for feed in self._feeds.values():
            for stream in feed.streams:
                if stream.stream_id == stream_id:
                    return stream
        return None

    def _close(self, machine_id: str) -> None:
        feed = self._feeds.pop(machine_id)
        if isinstance(feed.source, NetworkMachine):
            feed.source.off_payload(self._relay_payload)
            feed.source.blobs.off_offer(self._relay_payload)
        if (by_state := self._payload_states.pop(machine_id, None)) is not None:
            by_state.close()
        feed.close()

    def _relay_payload(
        self, net: NetworkMachine, payload: Payload, blob: list[Value] | None = None
    ) -> None:
        """What a replica's source sends to everybody goes on to our followers."""
        feed = self._feeds.get(served_id(net))
        if feed is not None:
            feed.pass_payload(payload, blob)

    # What can be seen.

    def published(self) -> dict[str, int]:
        """How many updates, payloads and encodings all streams together have seen."""
        streams = [stream for feed in self._feeds.values() for stream in feed.streams]
        return {
            "updates": sum(stream.updates for stream in streams),
            "payloads": sum(stream.payloads for stream in streams),
            "encoded": sum(stream.encoded for stream in streams),
            "head": sum(stream.head for stream in streams),
            "streams": len(streams),
            **({} if self.keeper is None else self.keeper.metrics()),
        }

    def infos(self, clients: Mapping[str, int]) -> list[MachineInfo]:
        """What is served, for those who ask; `clients` counts the clients of each machine."""
        if self.keeper is not None:
            for feed in self._feeds.values():
                feed.flush()  # nobody is told what is not written
        return [
            MachineInfo(
                machine_id,
                len(machine.state_names),
                machine.time().sum(),
                tuple(machine.active_states()),
                tuple(machine.tags),
                machine.parent.id if isinstance(machine, Machine) and machine.parent else "",
                tuple(path_of(machine)),
                clients.get(machine_id, 0),
                self._args,
            )
            for machine_id, machine in self._machines.items()
        ]


def served_id(machine: Machine | NetworkMachine) -> str:
    """The id by which clients ask for a machine: a replica has that of its source."""
    return machine.remote_id if isinstance(machine, NetworkMachine) else machine.id


def path_of(machine: Machine | NetworkMachine) -> list[str]:
    """The nodes that lead from a machine's owner to here."""
    if isinstance(machine, NetworkMachine):
        return [*machine.path, machine.id]
    return [machine.id]


def groups_of(machine: Machine | NetworkMachine, stream: StreamWriter) -> dict[str, Value]:
    """The machine's groups of states in the indexes of a view that has the schema."""
    if not stream.view.schema:
        return {}
    return {name: list(states) for name, states in machine.groups().items()}


def arg_names(classes: Iterable[type]) -> tuple[str, ...]:
    """``State.argument`` of classes of typed arguments, for those who fill them in by hand."""
    return tuple(
        f"{cls.__name__}.{name}" for cls in classes for name in getattr(cls, "__annotations__", {})
    )


def several(
    source: Machine | NetworkMachine | Iterable[Machine | NetworkMachine] | None,
) -> list[Machine | NetworkMachine]:
    """What was given to be served, as a list."""
    if source is None:
        return []
    if isinstance(source, (Machine, NetworkMachine)):
        return [source]
    return list(source)
