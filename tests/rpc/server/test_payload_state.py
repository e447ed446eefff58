"""Payloads by state: who knows only the machine can send data to its followers (spec rpc 8.3)."""

from __future__ import annotations

from typing import Any

import pytest

from amzmq.errors import DestinationUnknown, InvalidArgs
from amzmq.machine import Event, Machine, Result, State
from amzmq.rpc import Client, Mux
from amzmq.states import NetSourceStates
from tests.rpc.rig import QUICK, Payloads, World, level, soon, turns, until


class PriceStates(NetSourceStates):
    """A source that sells."""

    Open = State()
    ProvidePrice = State(multi=True)


def shop(id: str = "shop") -> Machine:
    return Machine(PriceStates, id=id)


async def test_adding_the_state_sends_a_payload_and_the_state_is_over(world: World) -> None:
    source = shop()
    await world.serve(source)
    taken = [Payloads(await world.follow()) for _ in range(2)]
    for n in range(3):
        assert source.add("SendPayload", name="price", payload={"usd": n}) == Result.EXECUTED
        assert source.not_("SendPayload")
    await until(lambda: all(len(at.all) == 3 for at in taken))
    for at in taken:
        assert at.data == [{"usd": 0}, {"usd": 1}, {"usd": 2}]
        assert {(payload.name, payload.source) for payload in at.all} == {("price", "shop")}


async def test_the_payload_is_in_order_with_the_states(world: World) -> None:
    source = shop()
    await world.serve(source)
    taken = Payloads(await world.follow())
    times = []
    for n in range(20):
        source.toggle("Open")
        source.add("SendPayload", name="n", payload=n)
        times.append(source.tick("Open"))
    await until(lambda: len(taken.all) == 20)
    assert taken.data == list(range(20))
    at = source.index("Open")
    assert [time[at] for time in taken.times] == times


async def test_a_payload_may_be_for_one_client(world: World) -> None:
    source = shop()
    await world.serve(source)
    one, other = Payloads(await world.follow("one")), Payloads(await world.follow("other"))
    source.add("SendPayload", name="n", payload=1, destination="rc-one")
    source.add("SendPayload", name="n", payload=2)
    await until(lambda: other.all and len(one.all) == 2)
    assert other.data == [2]


async def test_none_is_a_payload_too(world: World) -> None:
    source = shop()
    await world.serve(source)
    taken = Payloads(await world.follow())
    source.add("SendPayload", name="n", payload=None)
    await until(lambda: taken.all)
    assert taken.data == [None]
    assert source.not_("Exception")


async def test_the_payload_carries_the_transition_that_sent_it(world: World) -> None:
    source = shop()
    await world.serve(source)
    taken = Payloads(await world.follow())
    seen: list[str] = []
    source.bind({"SendPayloadState": lambda e: seen.append(e.transition_id)})
    source.add("SendPayload", name="n", payload=1)
    await until(lambda: taken.all)
    assert [payload.source_tx for payload in taken.all] == seen


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no name": ({"payload": 1}, InvalidArgs, "name=None"),
    "an empty name": ({"name": "", "payload": 1}, InvalidArgs, "name=''"),
    "no payload": ({"name": "n"}, InvalidArgs, "add it with name='...' and payload=..."),
    "no client": (
        {"name": "n", "payload": 1, "destination": 5}, InvalidArgs, "destination=5 is no client"
    ),
    "nobody": (
        {"name": "n", "payload": 1, "destination": "x"}, DestinationUnknown, "no client 'x'"
    ),
    "no form": ({"name": "n", "payload": object()}, InvalidArgs, "cannot travel"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_what_cannot_be_sent_is_an_error_of_the_source(world: World, what: str) -> None:
    args, error, text = WRONG[what]
    source = shop()
    await world.serve(source)
    taken = Payloads(await world.follow())
    source.add("SendPayload", args=args)
    assert source.is_("ErrSendPayload", "Exception")
    assert isinstance(source.err(), error)
    assert text in str(source.err())
    assert source.not_("SendPayload")
    await turns()
    assert taken.all == []


async def test_a_source_without_the_error_state_has_a_plain_exception(world: World) -> None:
    source = Machine({"SendPayload": State(multi=True)}, id="src")
    await world.serve(source)
    source.add("SendPayload", name="n")
    assert source.is_("Exception")
    assert isinstance(source.err(), InvalidArgs)


async def test_a_client_may_ask_for_data_by_a_state_and_gets_it_as_a_payload(
    world: World,
) -> None:
    source = shop()

    def provide(e: Event) -> None:
        source.add("SendPayload", name="price", payload=len(str(e.args["of"])), event=e)

    source.bind({"ProvidePriceState": provide})
    await world.serve(source)
    client = await world.follow()
    prices = client.payloads("price")
    assert await soon(client.net_mach.add("ProvidePrice", of="bread")) == Result.EXECUTED
    assert (await soon(anext(prices))).data == 5
    await prices.aclose()


async def test_a_client_may_add_the_state_itself(world: World) -> None:
    await world.serve(shop())
    client, other = await world.follow(), Payloads(await world.follow())
    assert await soon(client.net_mach.add("SendPayload", name="hi", payload=[1])) == 0
    await until(lambda: other.all)
    assert other.data == [[1]]


async def test_the_state_may_have_another_name(world: World) -> None:
    source = Machine({"Tell": State(multi=True), **PriceStates.schema()}, id="src")
    await world.serve(source, payload_state="Tell")
    taken = Payloads(await world.follow())
    source.add("SendPayload", name="n", payload="not by this one")
    source.add("Tell", name="n", payload=1)
    await until(lambda: taken.all)
    await turns()
    assert taken.data == [1]


async def test_without_a_name_no_state_sends(world: World) -> None:
    source = shop()
    mux = await world.serve(source, payload_state="")
    client = await world.follow()
    source.add("SendPayload", name="n", payload=1)
    await level(source, client)
    assert mux.published["payloads"] == 0
    assert source.is_("SendPayload")


async def test_each_machine_of_a_mux_sends_to_its_own_followers(world: World) -> None:
    one, two = shop("one"), shop("two")
    mux = await world.serve(one)
    mux.serve(two)
    first = Payloads(await world.follow())
    second = Payloads(await world.follow(machine="two"))
    two.add("SendPayload", name="n", payload=2)
    one.add("SendPayload", name="n", payload=1)
    await until(lambda: first.all and second.all)
    await turns()
    assert (first.data, second.data) == ([1], [2])


async def test_two_muxes_of_one_machine_both_send(world: World) -> None:
    source = shop()
    await world.serve(source)
    await world.serve(source, bind="mem://other")
    taken = [Payloads(await world.follow()), Payloads(await world.follow(addr="mem://other"))]
    source.add("SendPayload", name="n", payload=1)
    await until(lambda: all(at.all for at in taken))
    assert [at.data for at in taken] == [[1], [1]]


async def test_a_source_that_is_no_longer_served_sends_nothing(world: World) -> None:
    source = shop()
    mux = await world.serve(source)
    before = source.handlers()
    await mux.stop()
    assert len(source.handlers()) == len(before) - 1
    assert source.add("SendPayload", name="n", payload=1) == Result.EXECUTED
    assert source.not_("Exception")
    again = await world.serve(source)
    taken = Payloads(await world.follow())
    source.remove("SendPayload")
    source.add("SendPayload", name="n", payload=2)
    await until(lambda: taken.all)
    assert taken.data == [2]
    assert again.published["payloads"] == 1


async def test_a_payload_state_over_real_sockets() -> None:
    source = shop()
    async with Mux(source) as mux, Client(mux.addr, name="one", **QUICK) as client:
        taken = Payloads(client)
        source.add("SendPayload", name="n", payload={"x": b"\x00"})
        source.add("SendPayload", name="n", payload=2, destination="one")
        await until(lambda: len(taken.all) == 2)
        assert {"x": b"\x00"} in taken.data
