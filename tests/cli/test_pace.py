from __future__ import annotations

import io
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from amzmq.cli.demo.pace import LAG_LIMIT, Pace
from amzmq.cli.demo.processes import Followers
from amzmq.cli.demo.screen import Terminal
from amzmq.cli.demo.states import WalkStates
from amzmq.cli.demo.walk import Walk
from amzmq.machine import Machine
from amzmq.rpc import Mux


def pace(lags: dict[str, int], running: int = 2) -> Pace:
    mux = SimpleNamespace(clients={f"rc-{name}": lag for name, lag in lags.items()})
    followers = SimpleNamespace(names=["f01", "f02"], running=running)
    return Pace(cast(Mux, mux), cast(Followers, followers))


@pytest.mark.parametrize(
    ("lags", "running", "outrun"),
    [
        ({"f01": 0, "f02": LAG_LIMIT}, 2, False),
        ({"f01": 0, "f02": LAG_LIMIT + 1}, 2, True),
        ({"f01": 0}, 2, True),  # one lost its connection and may come back
        ({"f01": 0}, 1, False),  # one has exited
        ({}, 0, False),
    ],
)
def test_the_slowest_of_those_that_run_decides(
    lags: dict[str, int], running: int, outrun: bool
) -> None:
    assert pace(lags, running).outrun() is outrun


async def test_level_means_all_of_them_and_nothing_missing() -> None:
    await pace({"f01": 0, "f02": 0}).level(timeout=20)
    with pytest.raises(TimeoutError, match="f01 by 1, f02 not connected"):
        await pace({"f01": 1}).level(timeout=0.01)


async def test_the_terminal_shows_the_states_and_every_follower() -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100, height=30, no_color=True)
    machine = Machine(WalkStates, id="walk")
    machine.add("Start")
    followed = pace({"f01": 0, "f02": 17})
    walk = Walk(SimpleNamespace(), (), True, lambda file, event: None, followed)  # type: ignore[arg-type]
    with Terminal(console).watching(machine, walk, followed):
        machine.add("FollowerReady")
    for text in ("FollowerReady:1", "f01", "level", "f02", "17 behind"):
        assert text in drawn.getvalue()
    machine.dispose()
