"""Relays on the memory network: what they hand on, what they answer, and when they say no."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from amzmq.errors import ConnectFailed, NotConnected, OutcomeUnknown, Refused, RpcError
from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client, Mux, list_machines
from amzmq.rpc.relay.relay import Relay
from amzmq.rpc.relay.upstream import RelayLoop
from amzmq.wire.control import CatchUp, Mutate, SnapshotReply, Sync
from amzmq.wire.control_frames import from_frame
from amzmq.wire.feed import STREAM_ID_SIZE, FeedKind, Update
from amzmq.wire.journal import JournalLimits
from tests.rpc.rig import (
    ADDR,
    FEED,
    QUICK,
    Payloads,
    World,
    clock_of,
    level,
    machine,
    soon,
    turns,
    until,
)

R1, R2, R3 = "mem://r1", "mem://r2", "mem://r3"


class Tree(World):
    """A world with relays."""

    def relay(self, bind: str = R1, upstream: Any = ADDR, **options: Any) -> Relay:
        """A relay, not started; named after its address."""
        quick = {name: QUICK[name] for name in ("conn_timeout", "conn_retry_delay")}
        relay = Relay(
            upstream,
            bind,
            name=options.pop("name", bind.removeprefix("mem://")),
            conn_retry_backoff=QUICK["conn_retry_backoff"],
            transport=self.network.transport(),
            new_transport=self.network.transport,
            **(quick | options),
        )
        self._stack.push_async_callback(relay.stop)
        return relay

    async def serve_two(self) -> Mux:
        """A source of the machines one and two."""
        machines = [machine("one"), machine("two")]
        mux = Mux(machines, ADDR, transport=self.network.transport())
        self._stack.push_async_callback(mux.stop)
        await mux.start()
        return mux

    async def relayed(self, bind: str = R1, upstream: Any = ADDR, **options: Any) -> Relay:
        """A relay that serves."""
        relay = self.relay(bind, upstream, **options)
        await soon(relay.start())
        return relay


@pytest.fixture
async def tree() -> AsyncIterator[Tree]:
    async with AsyncExitStack() as stack:
        yield Tree(stack)


def stream_of(client: Client) -> tuple[bytes, bytes, int]:
    return client.follower.stream_id, client.epoch, client.follower.number


async def test_a_follower_of_a_relay_is_level_with_the_source(tree: Tree) -> None:
    mux = await tree.serve()
    mux.source.add("A")
    await tree.relayed()
    client = await tree.follow(addr=R1)
    assert clock_of(client.net_mach) == clock_of(mux.source)
    mux.source.add("B", "Multi")
    await level(mux.source, client)
    assert client.net_mach.is_("Auto")


async def test_a_relay_continues_the_source_s_own_stream(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    await tree.relayed(R2, R1)
    direct, edge = await tree.follow(), await tree.follow(addr=R2)
    mux.source.add("A")
    await level(mux.source, direct, edge)
    await until(lambda: stream_of(direct) == stream_of(edge))


async def test_frames_are_handed_on_as_they_are_and_none_is_encoded(tree: Tree) -> None:
    mux = await tree.serve(heartbeat=100.0)
    relay = await tree.relayed(heartbeat=100.0)
    client = await tree.follow(addr=R1)
    sent: list[bytes] = []

    def watch(frame: bytes) -> tuple[float]:
        sent.append(frame)
        return (0.0,)

    tree.network.feed_fault = watch
    before = relay.metrics()
    for n in range(200):
        mux.source.toggle("A")
        if n % 10 == 0:
            mux.send_payload("n", {"n": n})
        await turns(n % 3)
    await level(mux.source, client)
    await until(lambda: client.follower.number == relay.metrics()["head"])
    after = relay.metrics()
    assert after["encoded"] == before["encoded"]
    assert after["updates"] > before["updates"] + 50
    assert after["payloads"] == before["payloads"] + 20
    assert sorted(sent) == sorted(2 * sorted(set(sent)))  # each once upstream, once downstream
    assert client.metrics()["mismatches"] == 0


async def test_each_frame_of_a_burst_is_handed_on(tree: Tree) -> None:
    mux = await tree.serve()
    relay = await tree.relayed()
    client = await tree.follow(addr=R1)
    net = relay.machines["src"]
    before = client.metrics()["updates"]
    for _ in range(50):
        mux.source.toggle("A")
        mux.flush()
    await level(mux.source, client)
    await until(lambda: clock_of(net) == clock_of(mux.source))
    assert client.metrics()["updates"] == before + 50
    assert relay.metrics()["upstream_updates"] >= 50


async def test_a_loss_at_the_edge_never_reaches_the_source(tree: Tree) -> None:
    mux = await tree.serve()
    relay = await tree.relayed()
    client = await tree.follow(addr=R1)
    asked = mux.counters.syncs
    lost: list[bytes] = []
    down = relay.mux

    def lose_downstream(frame: bytes) -> tuple[float, ...]:
        # What arrives at the relay is sent once more by it: that copy is lost.
        if frame[STREAM_ID_SIZE] != FeedKind.UPDATE:
            return (0.0,)
        seen.append(frame)
        if seen.count(frame) == 2 and len(lost) < 3:
            lost.append(frame)
            return ()
        return (0.0,)

    seen: list[bytes] = []
    tree.network.feed_fault = lose_downstream
    syncs = down.counters.syncs
    for _ in range(6):
        mux.source.toggle("A")
        await turns()
    await level(mux.source, client)
    assert len(lost) == 3
    assert client.metrics()["gaps"] >= 1
    assert client.metrics()["snapshots"] == 1  # the one of the beginning
    assert down.counters.syncs > syncs
    assert mux.counters.syncs == asked


async def test_a_hole_upstream_that_the_journal_fills_is_filled_downstream_as_well(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    relay = await tree.relayed()
    client = await tree.follow(addr=R1)
    held = Payloads(client)
    tree.network.feed_fault = lambda frame: ()
    for n in range(5):
        mux.source.toggle("A")
        mux.send_payload("n", n)
    await turns()
    tree.network.feed_fault = None
    mux.source.add("Multi")
    await level(mux.source, client)
    assert held.data == [0, 1, 2, 3, 4]
    assert relay.metrics()["upstream_gaps"] == 1
    assert relay.metrics()["journal_restarts"] == 0
    assert client.metrics()["payloads_lost"] == 0


async def test_behind_a_hole_that_only_a_snapshot_bridges_the_journal_begins_anew(
    tree: Tree,
) -> None:
    mux = await tree.serve(journal=JournalLimits(messages=2))
    relay = await tree.relayed(heartbeat=100.0)  # the followers do not hear of it by chance
    client = await tree.follow(addr=R1)
    tree.network.feed_fault = lambda frame: ()
    for n in range(5):
        mux.source.toggle("A")
        mux.send_payload("n", n)
    await turns()
    tree.network.feed_fault = None
    mux.source.add("Multi")
    await level(mux.source, client)
    assert relay.metrics()["journal_restarts"] == 1
    assert relay.metrics()["upstream_payloads_lost"] == 5
    assert client.metrics()["payloads_lost"] == 5
    assert client.metrics()["snapshots"] == 2


async def test_a_frame_that_was_damaged_on_its_way_to_the_relay_heals_everywhere(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    relay = await tree.relayed()
    client = await tree.follow(addr=R1)
    mux.source.add("A")
    await level(mux.source, client)
    (subscriber,) = tree.network.publishers[FEED].asked
    # The right number, and a change of the clock that never was.
    wrong = Update(client.follower.number + 1, 1, [0, 2], 12345)
    subscriber.arrive(subscriber.incarnation, client.follower.stream_id + wrong.body())
    await until(lambda: relay.metrics()["upstream_mismatches"] == 1)
    await until(lambda: client.metrics()["mismatches"] == 1)
    mux.source.add("B")
    await level(mux.source, client)
    await until(lambda: clock_of(relay.machines["src"]) == clock_of(mux.source))
    mux.source.add("Multi")
    await level(mux.source, client)
    assert client.metrics()["mismatches"] == 1


async def test_a_mutation_travels_up_and_its_effect_is_there_when_it_returns(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    await tree.relayed(R2, R1)
    client = await tree.follow(addr=R2)
    assert await soon(client.net_mach.add("A", user=42)) == Result.EXECUTED
    assert client.net_mach.is_("A")
    assert mux.source.is_("A")
    assert await soon(client.net_mach.remove("A")) == Result.EXECUTED
    assert client.net_mach.not_("A")
    await level(mux.source, client)


async def test_payloads_of_the_source_reach_everybody_in_order_with_the_states(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    await tree.relayed(R2, R1)
    whole, part = await tree.follow(addr=R2), await tree.follow(addr=R2, allowed_states=["A"])
    got = Payloads(whole), Payloads(part)
    for n in range(5):
        mux.source.toggle("A")
        mux.send_payload("n", n)
    await until(lambda: all(len(it.all) == 5 for it in got))
    assert [it.data for it in got] == [[0, 1, 2, 3, 4]] * 2
    at = mux.source.index("A")
    assert [[time[at] for time in it.times] for it in got] == [[1, 2, 3, 4, 5]] * 2
    assert all(payload.source == "src" for it in got for payload in it.all)


async def test_payloads_that_nobody_could_use_are_told_up_to_the_source(tree: Tree) -> None:
    mux = await tree.serve(heartbeat=0.02)
    await tree.relayed(R1, heartbeat=0.02)
    await tree.relayed(R2, R1, heartbeat=0.02)
    deaf = [await tree.follow(addr=R2), await tree.follow(addr=R1)]
    mux.send_payload("n", 1)
    await until(lambda: all(client.metrics()["payloads_failed"] == 1 for client in deaf))
    await until(lambda: mux.metrics()["payloads_failed"] == 2)
    await turns(200)
    assert mux.metrics()["payloads_failed"] == 2


async def test_a_payload_for_one_client_of_the_relay_is_sent_by_the_relay(tree: Tree) -> None:
    await tree.serve()
    relay = await tree.relayed()
    client = await tree.follow("one", addr=R1)
    got = Payloads(client)
    await soon(relay.mux.send_payload("n", 7, destination="one"))
    assert got.data == [7]


async def test_a_relay_adds_no_payload_for_everybody(tree: Tree) -> None:
    await tree.serve()
    relay = await tree.relayed()
    with pytest.raises(Refused, match="send it at the machine's owner"):
        relay.mux.send_payload("n", 7)


@pytest.mark.parametrize(
    "view",
    [{"allowed_states": ["A"]}, {"no_schema": True}, {"sync_shallow_clocks": True}],
    ids=str,
)
async def test_views_of_a_part_are_encoded_at_the_relay(tree: Tree, view: dict[str, Any]) -> None:
    mux = await tree.serve()
    await tree.relayed()
    direct, client = await tree.follow(**view), await tree.follow(addr=R1, **view)
    assert stream_of(direct)[:2] != stream_of(client)[:2]
    for _ in range(5):
        mux.source.toggle("A")
        await turns()
    nets = direct.net_mach, client.net_mach
    await until(lambda: clock_of(nets[0]) == clock_of(nets[1]))
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    assert client.net_mach.is_("A")


async def test_every_single_mutation_is_not_to_be_had_from_a_relay(tree: Tree) -> None:
    await tree.serve()
    await tree.relayed()
    client = tree.client(addr=R1, sync_mutations=True)
    client.start()
    with pytest.raises(Refused, match="connect to the machine's owner"):
        await soon(client.ready())


async def test_waits_for_arguments_travel_up(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed()
    client = await tree.follow(addr=R1)
    wait = client.net_mach.when_args("Multi", user=42)
    await client.sync()
    mux.source.add("Multi", user=1)
    await turns()
    assert not wait.done()
    mux.source.add("Multi", user=42)
    await soon(wait)
    assert clock_of(client.net_mach) == clock_of(mux.source)


async def test_a_follower_that_changes_between_relays_resumes_from_its_number(tree: Tree) -> None:
    mux = await tree.serve()
    first, _ = await tree.relayed(R1), await tree.relayed(R2)
    client = await tree.follow(addr=[R1, R2])
    for _ in range(3):
        mux.source.toggle("A")
        await turns()
    await level(mux.source, client)
    follower = client.follower
    await first.stop()
    mux.source.add("Multi")
    await level(mux.source, client)
    assert client.addr == R2
    assert client.follower is follower
    assert client.metrics()["snapshots"] == 1
    assert client.metrics()["connects"] == 2


async def test_a_relay_that_lost_its_upstream_continues_its_streams_by_the_next(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    first, _ = await tree.relayed(R1), await tree.relayed(R2)
    edge = await tree.relayed(R3, [R1, R2])
    client = await tree.follow(addr=R3)
    part = await tree.follow(addr=R3, allowed_states=["Multi"])
    assert client.net_mach.path == ("src", "rnm-r1", "rnm-r3")
    before = stream_of(client)
    await first.stop()
    await until(lambda: edge.clients["src"].addr == R2 and edge.mach.is_("Ready"))
    mux.source.add("Multi")
    await level(mux.source, client)
    assert stream_of(client)[:2] == before[:2]
    assert client.metrics()["snapshots"] == 1
    await until(lambda: client.net_mach.path == ("src", "rnm-r2", "rnm-r3"))
    assert client.metrics()["payloads_lost"] == 0
    await until(lambda: part.net_mach.is_("Multi"))


async def test_after_a_restart_of_the_source_everybody_says_hello_again(tree: Tree) -> None:
    mux = await tree.serve()
    relay = await tree.relayed(R1)
    await tree.relayed(R2, R1)
    clients = [await tree.follow(addr=R2), await tree.follow(addr=R2, allowed_states=["A"])]
    await clients[0].net_mach.add("A")
    before = [stream_of(client)[:2] for client in clients]
    await mux.stop()
    again = await tree.serve()
    again.source.add("B")
    await level(again.source, clients[0])
    await until(lambda: clients[1].net_mach.not_("A") and clients[1].mach.is_("Ready"))
    assert all(stream_of(client)[:2] != old for client, old in zip(clients, before, strict=True))
    assert relay.mach.tick("Recalled") == 1
    assert all(client.metrics()["connects"] == 2 for client in clients)
    assert await soon(clients[1].net_mach.add("A")) == Result.EXECUTED
    assert again.source.is_("A")


async def test_while_upstream_is_away_the_last_known_state_is_served_and_marked(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    mux.source.add("A")
    relay = await tree.relayed()
    client = await tree.follow(addr=R1)
    await mux.stop()
    await until(lambda: relay.mach.is_("Stale"))
    assert relay.mach.not_("Ready")
    late = await tree.follow(addr=R1)
    assert all(it.net_mach.is_("A") for it in (client, late))
    with pytest.raises(NotConnected):
        await soon(client.net_mach.add("B"))
    assert client.mach.is_("Ready")
    assert "stale" in (await list_machines(R1, transport=tree.network.transport()))[0].tags
    again = await tree.serve(machine())
    await until(lambda: relay.mach.is_("Ready"))
    await level(again.source, client, late)
    assert "stale" not in relay.infos()[0].tags


async def test_a_source_with_another_schema_replaces_what_was_relayed(tree: Tree) -> None:
    mux = await tree.serve()
    relay = await tree.relayed()
    await mux.stop()
    again = await tree.serve(Machine({"Else": State()}, id="src"))
    again.source.add("Else")
    await until(lambda: relay.mach.is_("Ready"))
    client = await tree.follow(addr=R1)
    assert client.net_mach.is_("Else")
    assert client.net_mach.state_names == again.source.state_names


async def test_a_schema_that_grows_grows_downstream(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed()
    client = await tree.follow(addr=R1)
    source = mux.source
    assert isinstance(source, Machine)
    source.set_schema({**source.schema, "New": State()}, [*source.state_names, "New"])
    await until(lambda: client.net_mach.has("New"))
    assert await soon(client.net_mach.add("New")) == Result.EXECUTED
    await level(source, client)
    assert (await tree.follow(addr=R1)).net_mach.is_("New")


async def test_a_call_whose_relay_died_has_an_unknown_outcome(tree: Tree) -> None:
    mux = await tree.serve()
    first, _ = await tree.relayed(R1), await tree.relayed(R2)
    client = await tree.follow(addr=[R1, R2])
    tree.network.control_fault = lambda frame: (
        () if isinstance(from_frame(frame), Mutate) else (0.0,)
    )
    call = client.net_mach.add("A")
    await turns()
    tree.network.control_fault = None
    await first.stop()
    with pytest.raises(OutcomeUnknown):
        await soon(call)
    await level(mux.source, client)


async def test_all_machines_of_the_upstream_are_relayed_in_their_order(tree: Tree) -> None:
    mux = await tree.serve_two()
    relay = await tree.relayed()
    assert list(relay.machines) == ["one", "two"]
    default, two = await tree.follow(addr=R1), await tree.follow(addr=R1, machine="two")
    assert default.net_mach.remote_id == "one"
    await soon(two.net_mach.add("A"))
    assert mux.sources["two"].is_("A")
    assert mux.sources["one"].not_("A")


async def test_only_the_machines_asked_for_are_relayed(tree: Tree) -> None:
    await tree.serve_two()
    await tree.relayed(machines=["two"])
    assert (await tree.follow(addr=R1)).net_mach.remote_id == "two"
    client = tree.client(addr=R1, machine="one")
    client.start()
    with pytest.raises(Refused, match="no machine 'one' here"):
        await soon(client.ready())


async def test_the_path_and_the_depth_of_a_relay_can_be_seen(tree: Tree) -> None:
    await tree.serve()
    await tree.relayed(R1)
    await tree.relayed(R2, R1)
    client = await tree.follow(addr=R2)
    path = ("src", "rnm-r1", "rnm-r2")
    assert client.net_mach.path == path
    assert (await list_machines(R2, transport=tree.network.transport()))[0].path == path


async def test_a_relay_that_would_follow_itself_goes_back_to_its_source(tree: Tree) -> None:
    mux = await tree.serve()
    first = await tree.relayed(R1, [ADDR, R2])
    second = await tree.relayed(R2, R1)
    client = await tree.follow(addr=R2)
    await mux.stop()
    await until(lambda: first.metrics()["refused_loops"] >= 1)
    assert first.mach.is_("Stale")
    again = await tree.serve(machine())
    again.source.add("A")
    await until(lambda: first.mach.is_("Ready") and second.mach.is_("Ready"))
    await level(again.source, client)


async def test_a_chain_in_which_a_name_comes_twice_is_refused_as_a_loop(tree: Tree) -> None:
    await tree.serve()
    await tree.relayed(R1, name="same")
    relay = tree.relay(R2, R1, name="same")
    with pytest.raises(RelayLoop, match="by way of rnm-same itself: src > rnm-same"):
        await soon(relay.start())


async def test_two_relays_that_follow_each_other_both_find_back(tree: Tree) -> None:
    mux = await tree.serve()
    one, two = await tree.relayed(R1, [ADDR, R2]), await tree.relayed(R2, [ADDR, R1])
    clients = [await tree.follow(addr=R1), await tree.follow(addr=R2)]
    await mux.stop()
    await until(lambda: one.metrics()["refused_loops"] + two.metrics()["refused_loops"] >= 1)
    again = await tree.serve(machine())
    again.source.add("B")
    await until(lambda: one.mach.is_("Ready") and two.mach.is_("Ready"))
    await level(again.source, *clients)


async def test_without_an_upstream_a_relay_does_not_start_and_says_where_it_looked(
    tree: Tree,
) -> None:
    relay = tree.relay(R1, [ADDR, R2], start_timeout=0.05, conn_timeout=0.01)
    with pytest.raises(ConnectFailed, match="no upstream at mem://source mem://r2 within 0.05 s"):
        await soon(relay.start())
    assert relay.mach.is_disposed


async def test_a_machine_that_no_upstream_has_is_an_error_at_the_start(tree: Tree) -> None:
    await tree.serve()
    with pytest.raises(Refused, match="no machine 'none' here; there is: src"):
        await soon(tree.relay(machines=["none"]).start())


def test_nothing_to_follow_is_a_mistake() -> None:
    with pytest.raises(NotConnected, match="give the address of a Mux"):
        Relay([])
    with pytest.raises(RpcError, match="a relay of nothing"):
        Relay(ADDR, machines=[])


async def test_questions_downstream_are_answered_from_the_relay_s_own_journal(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed()
    client = await tree.follow(addr=R1)
    answers: list[object] = []

    def watch(frame: bytes) -> tuple[float]:
        message = from_frame(frame)
        if isinstance(message, (CatchUp, SnapshotReply, Sync)):
            answers.append(type(message))
        return (0.0,)

    mux.source.add("A")
    await level(mux.source, client)
    tree.network.control_fault = watch
    await client.sync()
    assert answers == [Sync, CatchUp]
