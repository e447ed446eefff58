"""Every mutation of a replica says what it was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amzmq.machine import Event, Mutation, Tracer, Transition
from tests.rpc.rig import World, machine, soon

MUTATIONS: dict[str, Callable[[Any, Event], Any]] = {
    "add": lambda net, e: net.add("B", event=e),
    "add_ns": lambda net, e: net.add_ns("B", event=e),
    "remove": lambda net, e: net.remove("Multi", event=e),
    "set": lambda net, e: net.set("A", "B", event=e),
    "toggle": lambda net, e: net.toggle("Multi", event=e),
    "add_err": lambda net, e: net.add_err(OSError("x"), event=e),
    "add_err_state": lambda net, e: net.add_err_state("ErrDisk", OSError("x"), event=e),
}


class Watch(Tracer):
    id = "watch"

    def __init__(self) -> None:
        self.mutations: list[Mutation] = []

    def transition_end(self, tx: Transition) -> None:
        self.mutations.append(tx.mutation)


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_mutation_of_a_replica_carries_the_event_it_was_made_with(
    world: World, name: str
) -> None:
    mux = await world.serve()
    mux.source.add("Multi")
    client = await world.follow()
    events: list[Event] = []
    local = machine("local")
    local.bind({"AState": events.append})
    local.add("A")
    watch = Watch()
    mux.source.bind_tracer(watch)
    made = MUTATIONS[name](client.net_mach, events[0])
    await soon(client.sync())
    if name != "add_ns":
        await soon(made)
    source = watch.mutations[0].source
    assert source is not None
    assert (source.machine_id, source.tx_id) == ("local", events[0].transition_id)


async def test_the_tracers_of_a_replica_are_listed(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    watch = Watch()
    net.bind_tracer(watch)
    assert net.tracers() == [watch]
    net.detach_tracer("watch")
    assert net.tracers() == []
