"""Replicas: level with the source whenever, and however, they came."""

from __future__ import annotations

import pytest

from amzmq.errors import NotConnected, Refused, SchemaMismatch
from amzmq.machine import Machine, Result, State
from amzmq.net import MemoryNetwork
from amzmq.rpc import Client, Mux
from amzmq.wire.codec import decode_array, encode
from amzmq.wire.control import Hello, Welcome
from amzmq.wire.control_frames import from_frame, to_frame
from tests.rpc.rig import ADDR, FEED, SCHEMA, World, clock_of, level, machine, soon, turns, until


async def test_the_schema_arrives_with_the_welcome(world: World) -> None:
    source = Machine(SCHEMA, id="src", states=[*reversed(SCHEMA), "Exception"])
    await world.serve(source)
    net = (await world.follow("reader")).net_mach
    assert net.state_names == source.state_names
    assert net.schema == source.schema
    assert net.remote_id == "src"
    assert net.id == "rnm-reader"
    assert "src-id:src" in net.tags


@pytest.mark.parametrize("known", [True, False])
async def test_a_schema_that_is_known_is_not_sent(world: World, known: bool) -> None:
    await world.serve()
    welcomes: list[Welcome] = []

    def watch(frame: bytes) -> tuple[float]:
        if isinstance(message := from_frame(frame), Welcome):
            welcomes.append(message)
        return (0.0,)

    world.network.control_fault = watch
    client = await world.follow(schema=SCHEMA if known else None)
    assert len(welcomes) == 1
    assert (welcomes[0].schema is None) is known
    await client.net_mach.add("A")
    assert client.net_mach.is_("A")


async def test_a_schema_that_is_known_in_part_is_replaced_by_the_source_s(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(schema={"A": State()})
    assert client.net_mach.schema == mux.source.schema


async def test_a_source_that_lacks_expected_states_is_refused_with_a_reason(world: World) -> None:
    await world.serve()
    client = world.client(schema={"Wrong": State()})
    client.start()
    with pytest.raises(SchemaMismatch, match="has no Wrong"):
        await soon(client.ready())


async def test_a_late_joiner_begins_with_everything(world: World) -> None:
    mux = await world.serve()
    early = await world.follow()
    mux.source.add("A", "B")
    await early.net_mach.add("Multi")
    late = await world.follow()
    assert late.net_mach.is_("A", "B", "Auto", "Multi")
    assert clock_of(late.net_mach) == clock_of(mux.source)


async def test_two_clients_see_what_the_other_does(world: World) -> None:
    await world.serve()
    one, other = await world.follow("one"), await world.follow("other")
    seen = other.net_mach.when("A")
    await one.net_mach.add("A")
    await soon(seen)
    gone = one.net_mach.when_not("A")
    await other.net_mach.remove("A")
    await soon(gone)
    assert clock_of(one.net_mach) == clock_of(other.net_mach)


async def test_what_the_source_does_by_itself_arrives(world: World) -> None:
    mux = await world.serve()
    clients = [await world.follow() for _ in range(5)]
    for _ in range(100):
        mux.source.toggle("A")
        mux.source.add("Multi")
    mux.source.add("Never")
    await level(mux.source, *clients)


async def test_one_turn_is_one_update_and_one_encoding_for_all(world: World) -> None:
    mux = await world.serve()
    clients = [await world.follow() for _ in range(5)]
    before = mux.published["updates"]
    for _ in range(100):
        mux.source.toggle("A")
    await level(mux.source, *clients)
    assert mux.published["updates"] == before + 1


async def test_a_replica_is_never_ahead_of_its_source(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()

    class Watch:
        def AnyState(self, e: object) -> None:
            net = client.net_mach
            assert net.queue_tick <= mux.source.queue_tick
            assert all(t <= s for t, s in zip(net.time(), mux.source.time(), strict=True))
            seen.append(net.queue_tick)

    seen: list[int] = []
    client.net_mach.bind(Watch())
    for _ in range(50):
        mux.source.toggle("A")
        await turns(2)
    await level(mux.source, client)
    assert seen == sorted(set(seen))
    assert seen


async def test_a_source_of_another_protocol_version_refuses_and_is_not_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux = await world.serve()
    client = world.client()
    client.start()
    hello = client.conversation.hello
    monkeypatch.setattr(client.conversation, "hello", lambda: hello()._replace(version=999))
    with pytest.raises(Refused, match="protocol 999, this source speaks 1"):
        await soon(client.ready())
    assert client.mach.is_("ConnRetryFailed")
    assert client.mach.not_("Start", "Ready", "RetryingConn")
    await turns(50)
    assert mux.counters.hellos == 1


async def test_a_source_without_the_wanted_machine_refuses(world: World) -> None:
    mux = await world.serve()
    client = world.client(machine="other")
    client.start()
    with pytest.raises(Refused, match="no machine 'other' here; there is: src"):
        await soon(client.ready())
    assert mux.counters.hellos == 1
    assert mux.mach.not_("HasClients")


async def test_a_hello_of_a_later_minor_form_is_welcome(world: World) -> None:
    # Arrays grow at their end: a source takes a Hello with fields it does not know.
    mux = await world.serve()
    got: list[object] = []
    dealer = world.network.transport().dealer(
        ADDR, lambda frame, blobs: got.append(from_frame(frame)), lambda connected: None
    )
    await until(lambda: dealer.connected)
    fields = decode_array(to_frame(Hello(1, "rc-x", b"i", b"", "")))
    dealer.send(encode([*fields, {"filters": []}, 7]))
    await until(lambda: got)
    assert isinstance(got[0], Welcome)
    assert mux.mach.is_("HasClients")
    dealer.close()


async def test_before_ready_there_is_no_replica(world: World) -> None:
    client = world.client()
    with pytest.raises(NotConnected, match="no replica of mem://source yet"):
        _ = client.net_mach
    client.start()
    with pytest.raises(NotConnected, match="wait for Ready"):
        await client.sync()


async def test_a_call_without_a_connection_says_that_nothing_was_sent(world: World) -> None:
    await world.serve()
    client = await world.follow()
    world.network.partition(True)
    await until(lambda: not client.mach.is_("Ready"))
    with pytest.raises(NotConnected, match="nothing was sent; wait for Ready"):
        await client.net_mach.add("A")
    assert client.net_mach.add_ns("A") == Result.CANCELED


async def test_context_managers_do_all_of_it() -> None:
    network = MemoryNetwork()
    source = machine()
    async with (
        Mux(source, bind=ADDR, transport=network.transport()) as mux,
        Client(mux.addr, name="reader", transport=network.transport()) as client,
    ):
        assert mux.feed_addr == FEED
        await client.net_mach.add("A")
        assert source.is_("A")
        net = client.net_mach
    assert net.is_disposed
    assert client.mach.is_disposed
    assert mux.mach.is_disposed
    assert not network.routers
    assert not network.publishers
