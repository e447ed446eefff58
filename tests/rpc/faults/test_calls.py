"""Faults 11, 15, 16, 25, 26: mutations, what they carry, and waits."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from amzmq import pipes
from amzmq.errors import BindError, CallTimeout, OutcomeUnknown, RemoteError
from amzmq.machine import EXCEPTION_ARGS, Event, Machine, Result, State
from amzmq.net import RandomFaults
from amzmq.wire.control import Hello, Mutate, Refusal, RefusalCode, Reply
from amzmq.wire.control_frames import from_frame, to_frame

from ..rig import ADDR, Losing, World, clock_of, level, machine, soon, turns, until

HASTY: dict[str, Any] = {"call_timeout": 0.05, "call_retry_delay": 0.01, "call_retries": 6}


@pytest.mark.parametrize("allowed", [["B"], ["Multi", "B"], ["ErrDisk", "B", "A"]])
async def test_fault_11_indexes_of_a_view_mean_the_states_of_that_view(
    world: World, allowed: list[str]
) -> None:
    mux = await world.serve()
    source = mux.source
    source.add("A", "B", "Multi")
    client = await world.follow(no_schema=True, allowed_states=allowed)
    before = source.clock()
    assert await soon(client.net_mach.remove("B")) == Result.EXECUTED
    # Auto requires B: it is the only other one that may change.
    changed = {name for name, tick in source.clock().items() if tick != before[name]}
    assert changed == {"B", "Auto"}
    await soon(client.net_mach.add("B"))
    assert source.is_("B")
    assert client.net_mach.tick("B") == source.tick("B")


@pytest.mark.parametrize("called", [[99], [-1], [0, 1 << 40], [2]])
async def test_fault_11_an_index_that_does_not_exist_is_refused_and_nobody_suffers(
    world: World, called: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()
    heard: list[object] = []
    stranger = world.network.transport().dealer(
        ADDR, lambda frame, blobs: heard.append(from_frame(frame)), lambda connected: None
    )
    await until(lambda: stranger.connected)
    # Its view has two states: B and Exception.
    view = [False, ["B"], [], False, False]
    stranger.send(to_frame(Hello(1, "rc-stranger", b"12345678", b"", "", view)))
    await until(lambda: heard)
    before = clock_of(mux.source)
    with caplog.at_level(logging.ERROR):
        stranger.send(to_frame(Mutate(1, 0, called, None, 0)))
        await until(lambda: len(heard) == 2)
    refusal = heard[1]
    assert isinstance(refusal, Refusal)
    assert (refusal.request, refusal.code) == (1, RefusalCode.BAD_REQUEST)
    assert "of 2 states" in refusal.reason
    assert not caplog.records
    assert clock_of(mux.source) == before
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    stranger.close()


async def test_fault_15_a_mutation_that_is_tried_again_and_again_runs_once(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(**HASTY)
    ran: list[object] = []
    mux.source.bind({"MultiState": lambda e: ran.append(e.args["n"])})
    losing = world.network.control_fault = Losing(Reply, 3)
    assert await soon(client.net_mach.add("Multi", n=1)) == Result.EXECUTED
    assert len(losing.lost) == 3
    assert ran == [1]
    assert client.net_mach.tick("Multi") == mux.source.tick("Multi") == 1
    assert client.metrics()["calls_retried"] == 3


async def test_fault_15_a_mutation_tried_over_connections_runs_once(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(**HASTY)
    losing = world.network.control_fault = Losing(Reply, 1)
    call = client.net_mach.add("Multi")
    await until(lambda: losing.lost)
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    world.network.partition(False)
    assert await soon(call) == Result.EXECUTED
    assert client.net_mach.tick("Multi") == mux.source.tick("Multi") == 1


async def test_fault_15_a_call_ends_when_its_time_and_its_retries_are_over(world: World) -> None:
    await world.serve()
    client = await world.follow(**HASTY | {"call_retries": 2})
    world.network.control_fault = Losing(Reply, 1000)
    with pytest.raises(CallTimeout, match="no reply after 3 tries"):
        await soon(client.net_mach.add("A"))
    await soon(client.mach.when_not("RetryingCall"))
    assert client.mach.tick("CallRetryFailed") == 2


async def test_fault_15_a_call_over_a_restart_is_not_run_a_second_time_in_silence(
    world: World,
) -> None:
    first = await world.serve()
    client = await world.follow(**HASTY)
    losing = world.network.control_fault = Losing(Reply, 1)
    call = client.net_mach.add("Multi")
    await until(lambda: losing.lost)
    await first.stop()
    again = await world.serve(machine())
    with pytest.raises(OutcomeUnknown):
        await soon(call)
    assert again.source.tick("Multi") == 0


async def test_fault_16_mutations_without_a_reply_keep_their_order_and_that_of_calls(
    world: World,
) -> None:
    mux = await world.serve()
    client = await world.follow()
    ran: list[object] = []
    mux.source.bind({"MultiState": lambda e: ran.append(e.args["n"])})
    calls = []
    for n in range(300):
        if n % 10:
            assert client.net_mach.add_ns("Multi", n=n) == Result.EXECUTED
        else:
            calls.append(client.net_mach.add("Multi", n=n))
    await soon(asyncio.gather(*calls))
    await soon(client.sync())
    assert ran == list(range(300))
    assert clock_of(client.net_mach) == clock_of(mux.source)


async def test_fault_16_mutations_without_a_reply_are_told_of_in_sum(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.serve()
    client = await world.follow()
    net = client.net_mach
    net.add_ns("A")
    net.add_ns("Never")
    net.add_ns("B", args={EXCEPTION_ARGS: "no details"})
    await soon(client.sync())
    counted = {name: client.metrics()[f"ns_{name}"] for name in ("sent", "received", "canceled")}
    assert counted == {"sent": 3, "received": 3, "canceled": 1}
    assert client.metrics()["ns_refused"] == 1
    assert "no details" in client.ns.reason
    assert "1 refused so far" in caplog.text


NESTED = {"deep": {"er": [1, {"est": [None, b"\x00", {"x": 2.5}]}]}, "list": [[], {}]}


async def test_fault_25_an_error_and_nested_arguments_arrive(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    seen: list[dict[str, object]] = []
    mux.source.bind({"ErrDiskState": lambda e: seen.append(dict(e.args))})
    assert await soon(net.add_err_state("ErrDisk", OSError("full"), args=NESTED)) == 0
    assert net.is_("ErrDisk", "Exception", "ErrOnClient")
    error = mux.source.err()
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message) == ("OSError", "full")
    assert {name: seen[0][name] for name in NESTED} == NESTED


async def test_fault_25_a_replica_is_piped_into_another_replica(world: World) -> None:
    one, two = machine("one"), machine("two")
    await world.serve(one)
    await world.serve(two, bind="mem://two")
    came: list[Event] = []
    two.bind({"BState": came.append})
    net_one = (await world.follow()).net_mach
    net_two = (await world.follow(addr="mem://two")).net_mach
    pipes.bind(net_one, net_two, "A", "B")
    one.add("A")
    await soon(net_two.when("B"))
    assert two.is_("B")
    source = came[0].mutation.source
    assert source is not None
    assert source.machine_id == "one"
    one.remove("A")
    await soon(net_two.when_not("B"))
    assert two.not_("B")


async def test_fault_26_waits_of_a_replica_take_a_context(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    await soon(net.add("A"))
    ctx = net.state_ctx("A")
    asked: list[int] = []

    def query(clock: Any) -> bool:
        asked.append(clock["B"])
        return clock["B"] > 2

    ends, fires = net.when_query(query, ctx=ctx), net.when_query(query)
    mux.source.add("Multi")
    await until(lambda: net.is_("Multi"))
    assert not ends.done()
    assert asked
    mux.source.remove("A")
    await soon(ends)
    assert not fires.done()
    for _ in range(3):
        mux.source.toggle("B")
    await soon(fires)


async def test_fault_26_a_wait_for_arguments_ends_with_them_and_not_before(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    wait = net.when_args("Multi", user=2)
    mux.source.add("Multi", user=1)
    mux.source.add("Multi")
    await soon(net.when_time({"Multi": 3}))
    await turns()
    assert not wait.done()
    mux.source.add("Multi", user=2, more=1)
    await soon(wait)
    assert net.tick("Multi") == mux.source.tick("Multi")


async def test_fault_26_handlers_of_a_replica_can_be_detached(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    told: list[str] = []
    kept = net.bind({"AState": lambda e: told.append("kept")})
    gone = net.bind({"AState": lambda e: told.append("gone")})
    net.detach(gone)
    assert net.handlers() == [kept]
    mux.source.add("A")
    await soon(net.when("A"))
    assert told == ["kept"]
    with pytest.raises(BindError):
        net.detach(gone)


@pytest.mark.parametrize("seed", range(3))
async def test_faults_15_and_16_a_bad_network_neither_doubles_nor_reorders(
    world: World, seed: int
) -> None:
    source = Machine({"Multi": State(multi=True)}, id="src")
    await world.serve(source)
    client = await world.follow(**HASTY | {"call_retries": 100})
    ran: list[object] = []
    source.bind({"MultiState": lambda e: ran.append(e.args["n"])})
    world.network.control_fault = RandomFaults(seed, drop=0.2, repeat=0.2)
    for n in range(30):
        assert await soon(client.net_mach.add("Multi", n=n)) == Result.EXECUTED
    assert ran == list(range(30))
    world.network.control_fault = None
    await level(source, client)
