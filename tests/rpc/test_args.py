"""A handler hands on what it was given."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest

from amzmq.errors import InvalidArgs
from amzmq.machine import Event, Machine, State, parse_args
from amzmq.rpc.args import pass_args, pass_rpc

from .rig import World, machine, soon


@dataclass(slots=True)
class Job:
    name: str
    size: int = 1
    connection: Any = None


def test_arguments_are_handed_on_with_changes() -> None:
    m = Machine({"A": State(), "B": State()})
    seen = []

    def a_state(e: Event) -> None:
        m.add("B", args=pass_args(e.args, size=7), event=e)

    m.bind({"AState": a_state, "BState": lambda e: seen.append(parse_args(Job, e))})
    connection = object()
    m.add("A", args=Job("x", connection=connection))
    assert seen == [Job("x", 7, connection)]


def test_what_is_handed_on_is_a_copy() -> None:
    given = {"name": "x"}
    passed = pass_args(given)
    passed["name"] = "y"
    assert given == {"name": "x"}


async def test_what_cannot_travel_is_left_out_on_the_way_to_a_source(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []
    source = machine()
    source.bind({"AState": lambda e: seen.append(parse_args(Job, e))})
    await world.serve(source)
    net = (await world.follow()).net_mach
    with caplog.at_level(logging.DEBUG, "amzmq.args"):
        args = pass_rpc(Job("x", connection=object()), size=3)
    await soon(net.add("A", args=args))
    assert seen == [Job("x", 3)]
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["connection"]


def test_what_is_inside_of_an_argument_has_to_travel_too() -> None:
    assert pass_rpc({"a": [1, {"b": object()}], "c": [1, {"b": None}]}) == {"c": [1, {"b": None}]}


@pytest.mark.parametrize("hand_on", [pass_args, pass_rpc])
def test_what_is_neither_a_mapping_nor_a_dataclass_is_refused(hand_on: Any) -> None:
    with pytest.raises(InvalidArgs, match="args=5"):
        hand_on(5)
