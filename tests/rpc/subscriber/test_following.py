"""Subscribers follow many machines of a Mux over one connection, read only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amzmq import Subscriber
from amzmq.errors import ConnectFailed, InvalidArgs, NoAccess, NotConnected, Refused
from amzmq.rpc import ServerRequest
from amzmq.rpc.server.rights import Policy
from amzmq.rpc.server.server import Server
from amzmq.wire.control import (
    Ping,
    Refusal,
    RefusalCode,
    Sync,
)
from tests.rpc.rig import ADDR, soon, until
from tests.rpc.subscriber.rig import BELL, DOOR, LAMP, House, heard


async def test_the_named_machines_are_followed_and_no_others(house: House) -> None:
    await house.serve(DOOR, LAMP, BELL)
    sub = await house.follow(DOOR, BELL)
    assert list(sub) == [DOOR, BELL]
    assert LAMP not in sub
    house.sources[DOOR].add("A")
    house.sources[BELL].add("B", "Multi")
    await house.level(sub)
    assert sub[DOOR].is_("A")
    assert sub[BELL].active_states() == ["B", "Multi"]


async def test_all_machines_are_followed_when_none_is_named(house: House) -> None:
    await house.serve(DOOR, LAMP, BELL)
    sub = await house.follow()
    assert list(sub) == [DOOR, LAMP, BELL]
    for source in house.sources.values():
        source.add("A", "B")
    await house.level(sub)


async def test_however_many_machines_there_are_two_sockets_carry_them(house: House) -> None:
    await house.serve(*(f"m{at}" for at in range(20)))
    sub = await house.follow()
    assert len(sub) == 20
    assert sum(map(len, house.network.dealers.values())) == 1
    assert sum(map(len, house.network.subscribers.values())) == 1


async def test_one_frame_is_decoded_by_the_one_machine_that_it_is_of(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow()
    house.sources[DOOR].add("A")
    await house.level(sub)
    assert sub[DOOR].clock()["A"] == 1
    assert sub.metrics()["updates"] == 1


async def test_a_replica_can_be_waited_on(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow()
    wait = sub[LAMP].when("Auto")
    house.sources[LAMP].add("A", "B")
    await soon(wait)
    assert sub[LAMP].is_("Auto")


async def test_a_machine_that_is_not_followed_is_named_with_those_that_are(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow(DOOR)
    with pytest.raises(NotConnected, match=r"'lamp' at .*; followed are: door"):
        sub[LAMP]


async def test_a_named_machine_that_is_not_there_ends_the_start_with_a_reason(
    house: House,
) -> None:
    await house.serve(DOOR)
    sub = house.subscriber(DOOR, "absent")
    sub.start()
    with pytest.raises(Refused, match="no machine 'absent' here; there is: door"):
        await soon(sub.ready())


async def test_the_first_of_the_named_machines_may_be_absent_after_a_restart(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(DOOR, LAMP)
    await mux.stop()
    await house.serve(LAMP)
    await until(lambda: sub.mach.is_("Ready") and sub.ended == (DOOR,))
    house.sources[LAMP].add("A")
    await until(lambda: house.is_level(sub, LAMP))
    assert sub.metrics()["machines_refused"] >= 1


async def test_a_source_that_is_not_there_is_given_up_with_a_reason(house: House) -> None:
    sub = house.subscriber(conn_retries=2, conn_timeout=0.02)
    sub.start()
    with pytest.raises(ConnectFailed, match="gave up after"):
        await soon(sub.ready())


async def test_what_is_given_wrongly_is_named(house: House) -> None:
    with pytest.raises(InvalidArgs, match="machines is empty"):
        Subscriber(ADDR, [])
    with pytest.raises(InvalidArgs, match="machines='door': give a list"):
        Subscriber(ADDR, "door")
    with pytest.raises(InvalidArgs, match="interval=1 is for conflate"):
        Subscriber(ADDR, interval=1.0)


async def test_a_view_is_that_of_every_machine(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(allowed_states=["A", "Multi"])
    for source in house.sources.values():
        source.add("A", "B", "Multi")
    await until(lambda: all(sub[id].is_("A", "Multi") for id in sub))
    assert all(sub[id].tick("B") == 0 for id in sub)
    assert all(sub[id].tracked_states == ("A", "Multi") for id in sub)
    assert mux.published["streams"] == 4


async def test_subscribers_of_one_view_share_its_stream(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    for _ in range(3):
        await house.follow()
    assert mux.published["streams"] == 2
    assert [info.clients for info in mux.machines()] == [3, 3]


async def test_the_source_sees_how_far_a_subscriber_is_on_all_machines(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(name="tap")
    pings = heard(house.network, Ping)
    for source in house.sources.values():
        source.add("A")
    await house.level(sub)
    await until(lambda: mux.published["head"] == 2 and mux.clients == {"rc-tap": 0})
    assert any(isinstance(ping, Ping) and ping.others for ping in pings)


async def test_a_machine_that_a_subscriber_leaves_costs_the_source_no_stream(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(allowed_states=["A"])
    assert mux.published["streams"] == 4
    await sub.stop()
    await mux.stop()
    assert mux.counters.hellos == 1


# Read only.


@pytest.mark.parametrize(
    "mutate",
    [
        lambda net: net.add("A"),
        lambda net: net.remove("A"),
        lambda net: net.set("A"),
        lambda net: net.toggle("A"),
        lambda net: net.add_ns("A"),
        lambda net: net.add_err(ValueError("x")),
        lambda net: net.when_args("A", user=1),
        lambda net: net.when_queue_ends(),
    ],
)
async def test_what_only_a_client_may_do_is_refused_at_once(
    house: House, mutate: Callable[[Any], object]
) -> None:
    await house.serve(DOOR)
    sub = await house.follow(DOOR)
    with pytest.raises(NoAccess, match="of 'door': a Subscriber only reads; use a Client"):
        mutate(sub[DOOR])


async def test_a_factory_decides_about_each_machine(house: House) -> None:
    asked: list[str] = []

    def new_server(request: ServerRequest) -> Server:
        asked.append(request.machine_id)
        if request.machine_id == LAMP:
            raise NoAccess("the lamp is private")
        return request.serve()

    await house.serve(DOOR, LAMP, BELL, new_server=new_server)
    sub = house.subscriber(DOOR, BELL, LAMP)
    sub.start()
    with pytest.raises(NoAccess, match="the lamp is private"):
        await soon(sub.ready())
    assert asked == [DOOR, BELL, LAMP]
    assert list(await house.follow(DOOR, BELL)) == [DOOR, BELL]


async def test_only_machines_that_the_user_may_see_are_found_and_followed(house: House) -> None:
    rights = Policy({"tap": {"machines": [LAMP, BELL], "read": ["A"]}})
    await house.serve(DOOR, LAMP, BELL, rights=rights)
    sub = await house.follow(user="tap")
    assert list(sub) == [LAMP, BELL]
    for source in house.sources.values():
        source.add("A", "B")
    await until(lambda: all(sub[id].is_("A") for id in sub))
    assert all(sub[id].tracked_states == ("A",) for id in sub)


async def test_a_machine_that_the_user_may_not_see_is_refused_by_name(house: House) -> None:
    rights = Policy({"tap": {"machines": [DOOR]}})
    await house.serve(DOOR, LAMP, rights=rights)
    sub = house.subscriber(DOOR, LAMP, user="tap")
    sub.start()
    with pytest.raises(NoAccess):
        await soon(sub.ready())


async def test_a_user_that_loses_a_right_is_told_no_more(house: House, tmp_path: Path) -> None:
    file = tmp_path / "rights.toml"
    file.write_text(f'[tap]\nmachines = ["{DOOR}", "{LAMP}"]\n')
    await house.serve(DOOR, LAMP, rights=Policy.load(file))
    sub = await house.follow(user="tap")
    assert list(sub) == [DOOR, LAMP]
    file.write_text(f'[tap]\nmachines = ["{DOOR}"]\n# a longer file\n')
    await until(lambda: sub.mach.is_("Ready") and sub.ended == (LAMP,))
    for source in house.sources.values():
        source.add("A")
    await until(lambda: house.is_level(sub, DOOR))
    assert sub[LAMP].not_("A")


async def test_a_question_about_a_stream_that_is_not_followed_is_refused(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(DOOR)
    lamp = next(iter(mux._sources.feed_of(LAMP).streams))  # type: ignore[union-attr]
    refusals = heard(house.network, Refusal)
    sub.conversation._connection.send(Sync(99, b"", 0, b"", lamp.stream_id))
    await until(lambda: refusals)
    assert refusals == [
        Refusal(99, RefusalCode.MACHINE_UNKNOWN, "that stream is not followed here, or has ended")
    ]
