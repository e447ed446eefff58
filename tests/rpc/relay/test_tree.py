"""Three levels: a source, replicas that are served again, and replicas of those (spec rpc 7)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from amzmq.errors import (
    CallTimeout,
    LimitExceeded,
    NoAccess,
    NotConnected,
    OutcomeUnknown,
    Refused,
    RemoteError,
)
from amzmq.machine import Event, Machine, Result, State
from amzmq.net import RandomFaults
from amzmq.rpc import Client, Consumer, Mux, NetworkMachine, Payload, list_machines
from amzmq.wire.control import Mutate, Reply
from tests.rpc.rig import (
    ADDR,
    QUICK,
    Losing,
    Payloads,
    World,
    clock_of,
    is_level,
    level,
    machine,
    soon,
    turns,
    until,
)

MIDDLE, LOW = "mem://middle", "mem://low"


@dataclass
class Tree:
    """src at the root, served again by middle, and that by low, which leaf follows."""

    source: Machine
    root: Mux
    middle: Client
    middle_mux: Mux
    low: Client
    low_mux: Mux
    leaf: Client

    @property
    def net(self) -> NetworkMachine:
        return self.leaf.net_mach


HASTY = {"call_timeout": 0.05, "call_retry_delay": 0.01}


async def grow(
    world: World, source: Machine | None = None, below: Any = None, **options: Any
) -> Tree:
    """The options are those of the middle; `below`, of all that is below it."""
    source, below = source or machine(), below or {}
    root = await world.serve(source, heartbeat=0.05)
    middle = await world.follow("middle", **options)
    middle_mux = await world.serve(middle.net_mach, bind=MIDDLE, heartbeat=0.05)
    low = await world.follow("low", addr=MIDDLE, **below)
    low_mux = await world.serve(low.net_mach, bind=LOW, heartbeat=0.05)
    leaf = await world.follow("leaf", addr=LOW, **below)
    return Tree(source, root, middle, middle_mux, low, low_mux, leaf)


async def test_mutations_travel_up_and_come_back_with_their_effect(world: World) -> None:
    tree = await grow(world)
    assert await soon(tree.net.add("A")) == Result.EXECUTED
    assert tree.net.is_("A")
    assert clock_of(tree.net) == clock_of(tree.source)
    assert await soon(tree.net.add("Never")) == Result.CANCELED
    assert await soon(tree.net.set("Multi")) == Result.EXECUTED
    assert await soon(tree.net.remove("Multi")) == Result.EXECUTED
    assert tree.net.queue_tick == tree.source.queue_tick == 5


async def test_updates_travel_down_to_every_level(world: World) -> None:
    tree = await grow(world)
    waiting = tree.net.when("Auto")
    for _ in range(30):
        tree.source.toggle("A")
        tree.source.add("Multi")
    tree.source.add("A", "B")
    await soon(waiting)
    await level(tree.source, tree.middle, tree.low, tree.leaf)


async def test_everybody_knows_who_the_machine_is_and_how_it_came(world: World) -> None:
    tree = await grow(world)
    assert [client.net_mach.remote_id for client in (tree.middle, tree.low, tree.leaf)] == (
        ["src"] * 3
    )
    assert tree.middle.net_mach.path == ("src",)
    assert tree.low.net_mach.path == ("src", "rnm-middle")
    assert tree.net.path == ("src", "rnm-middle", "rnm-low")
    (info,) = await soon(list_machines(LOW, transport=world.network.transport()))
    assert (info.id, info.path) == ("src", ("src", "rnm-middle", "rnm-low"))
    assert (await world.follow(addr=LOW, machine="src")).net_mach.remote_id == "src"


async def test_arguments_and_events_arrive_as_they_left(world: World) -> None:
    tree = await grow(world)
    came: list[Event] = []
    tree.source.bind({"AState": came.append})
    local = Machine({"Go": State()}, id="local")
    events: list[Event] = []
    local.bind({"GoState": events.append})
    local.add("Go")
    await soon(tree.net.add("A", event=events[0], user=[1, {"k": b"x"}]))
    assert came[0].args["user"] == [1, {"k": b"x"}]
    source = came[0].mutation.source
    assert source is not None
    assert (source.machine_id, source.tx_id) == ("local", events[0].transition_id)


async def test_an_error_of_a_leaf_arrives_as_it_was(world: World) -> None:
    tree = await grow(world)
    assert await soon(tree.net.add_err_state("ErrDisk", OSError("full"))) == Result.EXECUTED
    error = tree.source.err()
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message) == ("OSError", "full")
    assert tree.net.is_("ErrDisk", "Exception", "ErrOnClient")
    # Those between have nothing to do with it.
    assert tree.middle.net_mach.err() is None
    assert tree.low.net_mach.err() is None


async def test_payloads_for_all_come_down_once_in_order_with_their_origin(world: World) -> None:
    tree = await grow(world)
    taken = [Payloads(client) for client in (tree.middle, tree.low, tree.leaf)]
    tokens = []
    times = []
    for n in range(20):
        tree.source.toggle("A")
        tokens.append(tree.root.send_payload("n", n).token)
        times.append(tuple(tree.source.time()))
    await until(lambda: all(len(at.all) == 20 for at in taken))
    for at in taken:
        assert at.data == list(range(20))
        assert [payload.token for payload in at.all] == tokens
        assert {payload.source for payload in at.all} == {"src"}
        assert at.times == times


async def test_a_payload_of_a_handler_keeps_its_transition_down_to_a_consumer(
    world: World,
) -> None:
    tree = await grow(world)
    taken: list[Payload] = []
    consumer = Consumer(taken.append)
    await world.follow("eater", addr=LOW, consumer=consumer)
    sent: list[str] = []

    def send(e: Event) -> None:
        sent.append(e.transition_id)
        tree.root.send_payload("x", 1, event=e)

    tree.source.bind({"AState": send})
    await soon(tree.net.add("A"))
    await until(lambda: taken)
    assert [payload.source_tx for payload in taken] == sent
    consumer.dispose()


async def test_a_node_between_may_send_payloads_of_its_own(world: World) -> None:
    tree = await grow(world)
    above, below = Payloads(tree.middle), Payloads(tree.leaf)
    tree.middle_mux.send_payload("n", "from between")
    await until(lambda: below.all)
    assert below.data == ["from between"]
    assert above.data == []


async def test_waits_of_a_leaf_are_asked_at_the_source(world: World) -> None:
    tree = await grow(world)
    wait = tree.net.when_args("Multi", user=2)
    await turns(30)
    tree.source.add("Multi", user=1)
    await soon(tree.net.when("Multi"))
    assert not wait.done()
    tree.source.add("Multi", user=2)
    await soon(wait)
    assert tree.net.tick("Multi") == tree.source.tick("Multi")
    await soon(tree.net.when_queue_ends())


async def test_a_leaf_whose_node_lost_the_source_is_told_that_nothing_was_sent(
    world: World,
) -> None:
    tree = await grow(world)
    await tree.root.stop()
    await until(lambda: tree.middle.mach.not_("Ready"))
    with pytest.raises(NotConnected, match="mem://source"):
        await soon(tree.net.add("A"))
    assert tree.leaf.mach.is_("Ready")
    again = machine()
    again.add("B")
    await world.serve(again, heartbeat=0.05)
    await level(again, tree.middle, tree.low, tree.leaf)
    assert await soon(tree.net.add("A")) == Result.EXECUTED
    assert again.is_("A")


async def test_a_mutation_on_its_way_up_when_the_source_restarts_has_an_unknown_outcome(
    world: World,
) -> None:
    tree = await grow(world)
    # The source has run it, and its reply is the first that anybody sends.
    losing = world.network.control_fault = Losing(Reply, 1)
    call = tree.net.add("Multi")
    await until(lambda: losing.lost)
    await tree.root.stop()
    again = await world.serve(machine(), heartbeat=0.05)
    with pytest.raises(OutcomeUnknown):
        await soon(call)
    assert again.source.tick("Multi") == 0


async def test_a_mutation_that_is_never_answered_above_has_an_unknown_outcome_below(
    world: World,
) -> None:
    tree = await grow(world, call_timeout=0.03, call_retries=1, call_retry_delay=0.01)
    # The requests of the node below the source are lost, and no others.
    connection = tree.middle._connection
    assert connection is not None
    send = connection.send
    connection.send = lambda m: True if isinstance(m, Mutate) else send(m)  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown, match="no reply after 2 tries"):
        await soon(tree.net.add("A"))
    with pytest.raises(CallTimeout):
        await soon(tree.middle.net_mach.add("A"))
    assert tree.source.not_("A")


@pytest.mark.parametrize("error", [NoAccess, LimitExceeded])
async def test_a_refusal_of_the_source_reaches_the_leaf_as_what_it_is(
    world: World, error: type[Refused], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = await grow(world)
    add = Machine.add

    def refusing(self: Machine, *states: str, **options: Any) -> Result:
        if self is tree.source:
            raise error("not today")
        return add(self, *states, **options)

    monkeypatch.setattr(Machine, "add", refusing)
    with pytest.raises(error, match="not today"):
        await soon(tree.net.add("A"))
    assert tree.source.not_("A")


async def test_a_mutation_that_every_level_tries_again_runs_once_at_the_source(
    world: World,
) -> None:
    tree = await grow(world, None, HASTY, **HASTY)
    losing = world.network.control_fault = Losing(Reply, 6)
    assert await soon(tree.net.add("Multi")) == Result.EXECUTED
    assert len(losing.lost) == 6
    assert tree.source.tick("Multi") == tree.net.tick("Multi") == 1
    assert min(c.metrics()["calls_retried"] for c in (tree.middle, tree.low, tree.leaf)) > 0


@pytest.mark.parametrize("seed", range(3))
async def test_a_tree_is_level_at_rest_over_a_bad_feed(world: World, seed: int) -> None:
    tree = await grow(world)
    world.network.feed_fault = RandomFaults(seed, drop=0.3, repeat=0.2, delay=0.4, max_delay=0.005)
    for n in range(60):
        tree.source.toggle("AB"[n % 2])
        if n % 10 == 0:
            await soon(tree.net.add("Multi"))
        await turns(1)
    await level(tree.source, tree.middle, tree.low, tree.leaf)


async def test_a_leaf_may_see_less_and_a_view_of_a_view_is_the_smaller_one(world: World) -> None:
    source = machine()
    tree = await grow(world, source, allowed_states=["Auto", "Multi"])
    part = await world.follow(addr=LOW, allowed_states=["Multi"], sync_mutations=True)
    source.add("A", "B", "Multi")
    await soon(part.net_mach.when("Multi"))
    await soon(tree.net.when("Auto"))
    # A and B are required by Auto, so they are inferred, at the middle and below alike.
    assert set(tree.net.active_states()) == {"A", "B", "Auto", "Multi"}
    assert part.net_mach.active_states() == ["Multi"]
    assert tree.net.queue_tick == source.queue_tick


async def test_a_schema_that_grows_reaches_the_leaves(world: World) -> None:
    tree = await grow(world)
    await soon(tree.net.add("A"))
    wait = tree.net.when("B")
    tree.source.set_schema({"New": State(require=["A"]), **tree.source.schema})
    tree.source.add("New", "B")
    await soon(wait)
    await until(lambda: is_level(tree.leaf, tree.source))
    assert tree.net.is_("New")
    assert tree.net.state_names == tree.source.state_names


async def test_a_node_that_goes_takes_nothing_of_the_source_along(world: World) -> None:
    tree = await grow(world)
    await tree.low_mux.stop()
    await tree.low.stop()
    await until(lambda: tree.leaf.mach.not_("Ready"))
    tree.source.add("A")
    await level(tree.source, tree.middle)
    assert await soon(tree.middle.net_mach.add("B")) == Result.EXECUTED


async def test_a_tree_over_real_sockets() -> None:
    source = machine()
    async with (
        Mux(source, heartbeat=0.2) as root,
        Client(root.addr, name="middle", **QUICK) as middle,
        Mux(middle.net_mach, heartbeat=0.2) as node,
        Client(node.addr, name="leaf", **QUICK) as leaf,
    ):
        taken = Payloads(leaf)
        results = await soon(asyncio.gather(*(leaf.net_mach.add("Multi") for _ in range(20))))
        assert results == [Result.EXECUTED] * 20
        source.add("A", "B")
        root.send_payload("n", 1)
        await level(source, middle, leaf)
        await until(lambda: taken.data == [1])
        assert leaf.net_mach.path == ("src", "rnm-middle")
        assert leaf.addr != root.addr != ADDR
