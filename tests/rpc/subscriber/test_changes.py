"""Subscribers are told of changes and payloads, one by one or conflated."""

from __future__ import annotations

import pytest

from tests.rpc.rig import soon, until
from tests.rpc.subscriber.rig import DOOR, LAMP, House


async def test_each_change_is_told_with_its_machine_and_what_it_was(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    told: list[tuple[str, list[str], list[str]]] = []
    sub.on_change(lambda net, on, off: told.append((net.remote_id, list(on), list(off))))
    house.sources[DOOR].add("A")
    mux.flush()
    house.sources[DOOR].remove("A")
    house.sources[LAMP].add("Multi")
    mux.flush()
    house.sources[LAMP].add("Multi")
    await until(lambda: len(told) == 4)
    assert told == [
        (DOOR, ["A"], []),
        (DOOR, [], ["A"]),
        (LAMP, ["Multi"], []),
        (LAMP, [], []),
    ]


async def test_changes_can_be_iterated_over(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    changes = sub.changes()
    house.sources[LAMP].add("A")
    mux.flush()
    house.sources[LAMP].remove("A")
    first, second = await soon(anext(changes)), await soon(anext(changes))
    assert (first.machine, first.activated, first.deactivated) == (sub[LAMP], ("A",), ())
    assert (second.machine, second.activated, second.deactivated) == (sub[LAMP], (), ("A",))
    await sub.stop()
    with pytest.raises(StopAsyncIteration):
        await soon(anext(changes))


async def test_a_slow_reader_loses_the_oldest_changes_and_that_is_counted(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow()
    changes = sub.changes(limit=3)
    for _ in range(5):
        house.sources[DOOR].toggle("A")
        mux.flush()
    await house.level(sub)
    assert changes.dropped == 2
    assert sub.metrics()["changes_dropped"] == 2
    assert [(await soon(anext(changes))).activated for _ in range(3)] == [("A",), (), ("A",)]


async def test_a_callback_that_fails_is_counted_and_the_others_are_told(house: House) -> None:
    await house.serve(DOOR)
    sub = await house.follow()
    told: list[object] = []
    sub.on_change(lambda *change: 1 // 0)  # type: ignore[arg-type]
    sub.on_change(lambda *change: told.append(change))
    house.sources[DOOR].add("A")
    await until(lambda: told)
    assert sub.metrics()["callbacks_failed"] == 1


async def test_what_was_missed_while_away_is_told_as_a_change(house: House) -> None:
    await house.serve(DOOR)
    sub = await house.follow()
    told: list[list[str]] = []
    sub.on_change(lambda net, on, off: told.append([*on]))
    house.network.partition(True)
    house.sources[DOOR].add("A")
    house.network.partition(False)
    await house.level(sub)
    assert told == [["A"]]


# Payloads.


async def test_payloads_of_all_machines_arrive_in_order_with_their_states(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    seen: list[tuple[str, object, int]] = []
    sub.on_payload(lambda it: seen.append((it.source, it.data, sub[it.source].tick("Multi"))))
    for at in range(3):
        for id, source in house.sources.items():
            source.add("Multi")
            mux.send_payload("price", at, machine=id)
    await until(lambda: len(seen) == 6)
    ticks = [2 * at + 1 for at in range(3)]
    for id in (DOOR, LAMP):
        assert [(data, tick) for source, data, tick in seen if source == id] == list(
            enumerate(ticks)
        )


async def test_payloads_can_be_iterated_over_by_name(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    prices = sub.payloads("price")
    mux.send_payload("noise", 0, machine=LAMP)
    mux.send_payload("price", 1, machine=LAMP)
    mux.send_payload("price", 2, machine=DOOR)
    arrived = [await soon(anext(prices)) for _ in range(2)]
    assert sorted((payload.source, payload.data) for payload in arrived) == [(DOOR, 2), (LAMP, 1)]


async def test_a_payload_for_one_subscriber_is_taken_once_and_confirmed(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(name="tap")
    notes = sub.payloads()
    house.sources[DOOR].add("A")
    receipt = mux.send_payload("note", "for you", "tap")
    payload = await soon(anext(notes))
    assert payload.data == "for you"
    await soon(receipt)


async def test_a_tap_is_told_once_of_all_that_one_turn_brought(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow(conflate=True)
    told: list[tuple[list[str], list[str]]] = []
    sub.on_change(lambda net, on, off: told.append(([*on], [*off])))
    for _ in range(50):
        house.sources[DOOR].toggle("A")
        house.sources[DOOR].add("Multi")
        mux.flush()
    house.sources[DOOR].add("B")
    await house.level(sub)
    await until(lambda: told and sub.metrics()["updates"] == 51)
    assert told == [(["B", "Multi"], [])]


async def test_a_tap_is_told_at_most_once_an_interval(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow(conflate=True, interval=3600.0)
    changes = sub.changes()
    house.sources[DOOR].add("A")
    first = await soon(anext(changes))
    assert first.activated == ("A",)
    for _ in range(9):
        house.sources[DOOR].toggle("B")
        mux.flush()
    await house.level(sub)
    assert sub.metrics()["updates"] == 10
    assert len(changes) == 0


async def test_an_iteration_that_conflates_keeps_one_change_a_machine_and_drops_none(
    house: House,
) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow(conflate=True)
    changes = sub.changes(limit=1)
    for _ in range(5):
        for source in house.sources.values():
            source.toggle("A")
        await house.level(sub)
    await until(lambda: len(changes) == 2)
    merged = [await soon(anext(changes)) for _ in range(2)]
    assert [(it.machine, it.activated) for it in merged] == [
        (sub[DOOR], ("A",)),
        (sub[LAMP], ("A",)),
    ]
    assert sub.metrics()["changes_dropped"] == 0
