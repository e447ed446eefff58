"""Waits for what only the source can see: arguments of an activation, the end of its queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from amzmq.errors import InvalidArgs, NotConnected, StateUnknown
from amzmq.machine import Machine
from amzmq.rpc import Client, Limits, Mux
from amzmq.wire.control import Unwatch, Watch, Watched
from tests.rpc.rig import PATIENCE_S, QUICK, Losing, World, level, machine, soon, turns, until


async def watched(mux: Mux, count: int = 1) -> None:
    """Waits until the source knows of so many waits of its first client."""
    await until(lambda: mux.servers and len(mux.servers[0].watches) == count)


async def test_only_an_activation_with_all_the_arguments_ends_the_wait(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    wait = net.when_args("Multi", user=2, role=["admin", {"of": None}])
    await watched(mux)
    for args in ({"user": 2}, {"user": 2, "role": ["admin"]}, {"role": ["admin", {"of": None}]}):
        mux.source.add("Multi", args=args)
    mux.source.add("A", user=2, role=["admin", {"of": None}])
    await soon(net.when("A"))
    await turns()
    assert not wait.done()
    mux.source.add("Multi", user=2, role=["admin", {"of": None}], more=1)
    await soon(wait)


async def test_the_replica_has_the_change_before_its_wait_ends(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    # Updates take their time, the conversation does not.
    world.network.feed_fault = lambda frame: (0.02,)
    for user in range(3):
        wait = net.when_args("Multi", user=user)
        await watched(mux)
        mux.source.add("Multi", user=user)
        expected = mux.source.tick("Multi")
        await soon(wait)
        assert net.tick("Multi") >= expected


async def test_a_call_of_the_client_itself_ends_its_wait(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    wait = net.when_args("A", n=1)
    await soon(net.add("A", n=1))
    await soon(wait)


async def test_what_happens_while_the_client_is_away_ends_its_wait_when_it_is_back(
    world: World,
) -> None:
    mux = await world.serve()
    client = await world.follow()
    wait = client.net_mach.when_args("Multi", user=1)
    await watched(mux)
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    mux.source.add("Multi", user=1)
    await turns()
    assert not wait.done()
    world.network.partition(False)
    await soon(wait)
    assert client.net_mach.tick("Multi") == 1


async def test_a_wait_begun_while_away_is_asked_when_the_client_is_back(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    wait = client.net_mach.when_args("Multi", user=1)
    world.network.partition(False)
    await soon(client.mach.when("Ready"))
    await watched(mux)
    mux.source.add("Multi", user=1)
    await soon(wait)


async def test_an_answer_that_was_lost_is_given_again_after_a_reconnect(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    wait = client.net_mach.when_args("Multi", user=1)
    await watched(mux)
    losing = world.network.control_fault = Losing(Watched, 1)
    mux.source.add("Multi", user=1)
    await until(lambda: losing.lost)
    await turns()
    assert not wait.done()
    client.mach.add("Handshaking")  # as after a lost connection
    await soon(wait)
    assert mux.source.tick("Multi") == 1


async def test_a_wait_lives_through_a_restart_of_the_source(world: World) -> None:
    first = await world.serve()
    client = await world.follow()
    wait = client.net_mach.when_args("Multi", user=1)
    await watched(first)
    await first.stop()
    first.source.add("Multi", user=1)  # nobody serves this one any more
    again = await world.serve(machine())
    await soon(client.mach.when("Ready"))
    await watched(again)
    assert not wait.done()
    again.source.add("Multi", user=1)
    await soon(wait)


async def test_a_wait_that_is_given_up_is_of_no_cost_to_the_source(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    wait = client.net_mach.when_args("Multi", user=1)
    await watched(mux)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await wait
    await watched(mux, 0)
    assert len(client.watches) == 0
    # It may be waited for again.
    waiting = asyncio.ensure_future(_until_done(wait))
    await watched(mux)
    mux.source.add("Multi", user=1)
    await soon(waiting)


async def _until_done(wait: object) -> None:
    await wait  # type: ignore[misc]


async def test_a_wait_that_ended_is_forgotten_at_both_ends(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    for user in range(5):
        wait = client.net_mach.when_args("Multi", user=user)
        await watched(mux)
        mux.source.add("Multi", user=user)
        await soon(wait)
    await watched(mux, 0)
    (server,) = mux.servers
    await until(lambda: not server.watches._answered)
    assert len(client.watches) == 0


async def test_a_client_that_goes_leaves_no_wait_at_the_source(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    (server,) = mux.servers
    wait = client.net_mach.when_args("Multi", user=1)
    await watched(mux)
    await client.stop()
    await soon(wait)  # as on a machine that is disposed
    await mux.stop()
    assert len(server.watches) == 0
    with pytest.raises(NotConnected):
        world.client("never started").watches  # noqa: B018


async def test_the_source_has_a_limit_and_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve(limits=Limits(watches=2))
    client = await world.follow()
    waits = [client.net_mach.when_args("Multi", user=n) for n in range(3)]
    await until(lambda: client.metrics()["waits_refused"] == 1)
    assert "2 waits; watches=2 at this source: end some first" in caplog.text
    for n in range(3):
        mux.source.add("Multi", user=n)
    await soon(waits[0])
    await soon(waits[1])
    assert not waits[2].done()


async def test_what_cannot_be_waited_for_is_said_at_the_call(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    with pytest.raises(StateUnknown):
        net.when_args("Wrong", user=1)
    with pytest.raises(InvalidArgs, match="cannot travel"):
        net.when_args("A", user=object())
    await turns()
    assert len(mux.servers[0].watches) == 0


async def test_a_question_or_its_end_that_is_lost_does_no_harm(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    losing = world.network.control_fault = Losing(Watch, 1)
    wait = client.net_mach.when_args("Multi", user=1)
    await until(lambda: losing.lost)
    client.mach.add("Handshaking")
    await watched(mux)
    losing = world.network.control_fault = Losing(Unwatch, 1)
    mux.source.add("Multi", user=1)
    await soon(wait)
    await until(lambda: losing.lost)
    mux.source.add("A")
    await level(mux.source, client)


@contextmanager
def busy(source: Machine) -> Iterator[threading.Event]:
    """The source is in a handler, on a thread of its own, until the event is set."""
    go_on, entered = threading.Event(), threading.Event()
    source.handler_timeout = PATIENCE_S

    def wait(e: object) -> None:
        entered.set()
        assert go_on.wait(PATIENCE_S)

    source.bind({"AState": wait}, id="busy")
    thread = threading.Thread(target=source.add, args=("A",))
    thread.start()
    try:
        assert entered.wait(PATIENCE_S)
        yield go_on
    finally:
        go_on.set()
        thread.join(PATIENCE_S)


async def test_the_end_of_the_queue_is_waited_for_at_the_source(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    await soon(client.net_mach.when_queue_ends())  # it is empty
    with busy(mux.source) as go_on:
        wait = client.net_mach.when_queue_ends()
        await watched(mux)
        for n in range(3):
            assert mux.source.add("Multi", n=n) > 1
        await turns()
        assert not wait.done()
        go_on.set()
        await soon(wait)
    assert client.net_mach.tick("Multi") == mux.source.tick("Multi") == 5


async def test_the_end_of_the_queue_is_heard_of_after_a_reconnect(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    with busy(mux.source) as go_on:
        wait = client.net_mach.when_queue_ends()
        await watched(mux)
        world.network.partition(True)
        await until(lambda: client.mach.not_("Ready"))
        go_on.set()
        await turns()
        assert not wait.done()
        world.network.partition(False)
        await soon(wait)
    await level(mux.source, client)


async def test_waits_at_the_source_over_real_sockets() -> None:
    source = machine()
    async with Mux(source) as mux, Client(mux.addr, **QUICK) as client:
        wait = client.net_mach.when_args("Multi", user=[1])
        await watched(mux)
        source.add("Multi", user=[2])
        source.add("Multi", user=[1])
        await soon(wait)
        assert client.net_mach.tick("Multi") == 3
        await soon(client.net_mach.when_queue_ends())
