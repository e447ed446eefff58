"""Faults 21, 23, 29, 30, 31: ends, trees, strangers, threads, and what a crowd costs."""

from __future__ import annotations

import ast
import asyncio
import pickle
from pathlib import Path

import msgpack
import pytest

import amzmq
from amzmq.errors import InvalidArgs
from amzmq.machine import Machine, Result, State
from amzmq.net import Insecure
from amzmq.rpc import Client, Mux
from amzmq.wire.codec import encode
from amzmq.wire.control import Hello, Mutate
from amzmq.wire.control_frames import from_frame, to_frame

from ..rig import ADDR, FEED, Payloads, World, clock_of, level, machine, soon, turns, until
from .tampering import PATIENT


@pytest.mark.parametrize("who", ["client", "replica"])
async def test_fault_21_nobody_waits_for_a_replica_that_is_gone(world: World, who: str) -> None:
    await world.serve()
    client = await world.follow()
    net = client.net_mach
    await soon(net.add("A"))
    waits = [
        net.when("B"),
        net.when_not("A"),
        net.when_time({"A": 99}),
        net.when_ticks("A", 9),
        net.when_next_active("A"),
        net.when_query(lambda clock: False),
        net.when_queue(1000),
        net.when_err(),
        net.when_disposed(),
        net.state_ctx("A"),
    ]
    if who == "client":
        waits.append(net.when_args("Multi", n=1))
        await client.stop()
    else:
        net.dispose()
    for wait in waits:
        await soon(wait)
    assert net.is_disposed
    # Whoever asks now is not left waiting either.
    await soon(net.when_not("Multi"))


async def test_fault_23_a_replica_can_be_served(world: World) -> None:
    source = machine()
    await world.serve(source, heartbeat=PATIENT)
    middle = await world.follow("middle")
    await world.serve(middle.net_mach, bind="mem://middle", heartbeat=PATIENT)
    leaf = await world.follow("leaf", addr="mem://middle")
    assert leaf.net_mach.state_names == source.state_names
    assert await soon(leaf.net_mach.add("A")) == Result.EXECUTED
    assert source.is_("A")
    assert clock_of(leaf.net_mach) == clock_of(source)
    source.add("B")
    await level(source, middle, leaf)
    exported = leaf.net_mach.export()
    assert exported["time"] == source.export()["time"]
    assert exported["state_names"] == source.export()["state_names"]


exploded: list[str] = []


class Bomb:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exploded.append, ("boom",)


BOMB = pickle.dumps(Bomb())
EXT_CODE = 1
"""Of registered types; 42 below is nobody's."""


@pytest.mark.parametrize(
    "frame",
    [
        BOMB,
        encode([BOMB]),
        msgpack.packb(msgpack.ExtType(EXT_CODE, BOMB)),
        msgpack.packb([1, 1, "x", b"i", msgpack.ExtType(42, BOMB)]),
        msgpack.packb([msgpack.ExtType(EXT_CODE, msgpack.packb(["builtins.exec", "1"]))]),
    ],
)
async def test_fault_29_nothing_that_arrives_is_unpickled(world: World, frame: bytes) -> None:
    exploded.clear()
    mux = await world.serve()
    client = await world.follow()
    stranger = world.network.transport().dealer(
        ADDR, lambda frame, blobs: None, lambda connected: None
    )
    await until(lambda: stranger.connected)
    stranger.send(frame)
    await until(lambda: mux.counters.garbage == 1)
    client.follower.on_frames([client.follower.stream_id + b"\x02" + frame])
    assert client.metrics()["garbage"] == 1
    assert exploded == []
    stranger.close()


async def test_fault_29_arguments_of_a_stranger_stay_data(world: World) -> None:
    exploded.clear()
    mux = await world.serve()
    given: list[object] = []
    mux.source.bind({"AState": lambda e: given.append(e.args["x"])})
    heard: list[object] = []
    stranger = world.network.transport().dealer(
        ADDR, lambda frame, blobs: heard.append(from_frame(frame)), lambda connected: None
    )
    await until(lambda: stranger.connected)
    stranger.send(to_frame(Hello(1, "rc-stranger", b"12345678", b"")))
    await until(lambda: heard)
    mutate = to_frame(Mutate(1, 0, [0], {"x": "PLACE"}, 0))
    inner = msgpack.packb(msgpack.ExtType(42, BOMB))
    stranger.send(mutate.replace(msgpack.packb("PLACE"), inner))
    await until(lambda: given)
    assert given == [msgpack.ExtType(42, BOMB)]
    assert exploded == []
    stranger.close()


@pytest.mark.parametrize("thing", [Bomb(), object(), print, Bomb])
async def test_fault_29_no_arbitrary_object_is_sent(world: World, thing: object) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    with pytest.raises(InvalidArgs, match="cannot travel"):
        await client.net_mach.add("A", x=[thing])
    for destination in (None, "one"):
        with pytest.raises(InvalidArgs, match="cannot travel"):
            mux.send_payload("n", {"x": thing}, destination=destination)
    assert mux.source.not_("A")


def test_fault_29_what_reads_the_wire_has_no_means_to_run_it() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "runpy"}
    root = Path(amzmq.__file__).parent
    read = [path for room in ("wire", "net", "rpc") for path in (root / room).rglob("*.py")]
    assert len(read) > 40
    for path in read:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not forbidden & {alias.name.partition(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] not in forbidden, path
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__"}, path


@pytest.mark.parametrize("part", [0, 1, 4, 7])
async def test_fault_29_only_whole_ids_that_were_handed_out_are_heard(
    world: World, part: int
) -> None:
    mux = await world.serve()
    client = await world.follow()
    spied: list[bytes] = []
    spy = world.network.transport().subscriber(FEED, spied.extend)
    spy.subscribe(client.follower.stream_id[:part])
    await until(lambda: mux.counters.garbage == 1)
    mux.source.add("A")
    await level(mux.source, client)
    assert spied == []
    spy.subscribe(client.follower.stream_id)
    await until(lambda: spied)
    spy.close()


@pytest.mark.parametrize("bind", ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://[::]:0"])
async def test_fault_29_what_strangers_could_reach_is_not_bound_without_a_key(bind: str) -> None:
    mux = Mux(machine(), bind=bind)
    with pytest.raises(Insecure, match="whoever reaches this address could read and change"):
        await mux.start()
    assert mux.mach.not_("Start", "Ready")


THREADS = 4
ROUNDS = 100


async def test_fault_30_a_source_may_be_used_by_many_threads_while_clients_come_and_go(
    world: World,
) -> None:
    # In debug mode the loop raises at each call that only its own thread may make.
    asyncio.get_running_loop().set_debug(True)
    source = Machine({"Multi": State(multi=True), "A": State()}, id="src", queue_limit=10_000)
    mux = await world.serve(source)
    client = await world.follow("stays")
    taken = Payloads(client)

    def work(thread: int) -> None:
        for n in range(ROUNDS):
            source.add("Multi")
            source.toggle("A")
            mux.send_payload("n", [thread, n])
            assert len(mux.clients) >= 1

    working = [asyncio.create_task(asyncio.to_thread(work, thread)) for thread in range(THREADS)]
    visits = 0
    while not visits or not all(task.done() for task in working):
        visitor = await world.follow("visitor")
        await soon(visitor.net_mach.add("Multi"))
        await visitor.stop()
        visits += 1
    await asyncio.gather(*working)
    await soon(client.net_mach.when_queue_ends())
    # Each add of an active Multi state ticks by two: none was lost, none ran twice.
    assert source.tick("Multi") == 2 * (THREADS * ROUNDS + visits) - 1
    await level(source, client)
    await until(lambda: len(taken.all) == THREADS * ROUNDS)
    for thread in range(THREADS):
        assert [n for of, n in taken.data if of == thread] == list(range(ROUNDS))
    assert client.metrics()["mismatches"] == 0


async def crowd(world: World, count: int) -> tuple[Mux, list[Client]]:
    mux = await world.serve(heartbeat=PATIENT)
    return mux, [await world.follow() for _ in range(count)]


async def test_fault_31_a_crowd_costs_one_difference_and_one_encoding(world: World) -> None:
    mux, clients = await crowd(world, 12)
    await turns()
    assert mux.published["streams"] == 1
    before = mux.published["encoded"]
    for _ in range(5):
        mux.source.toggle("A")
        await level(mux.source, *clients)
    assert mux.published["encoded"] == before + 5


async def test_fault_31_transitions_of_one_turn_cost_one_flush_and_no_task(world: World) -> None:
    mux, clients = await crowd(world, 3)
    await turns()
    (feed,) = mux._sources.feeds
    flushes, tasks = feed.flushes, len(asyncio.all_tasks())
    for _ in range(500):
        mux.source.toggle("A")
    assert len(asyncio.all_tasks()) == tasks
    await level(mux.source, *clients)
    assert feed.flushes == flushes + 1
