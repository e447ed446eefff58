"""The live table of watch: what it shows, and that terminals alone get it."""

from __future__ import annotations

import io
import signal

import pytest
from rich.console import Console

from amzmq.cli.pulse import WINDOW, Pulse, Row, liveliest
from amzmq.cli.table import FRAME_LINES, Caption, picture
from tests.cli.background import in_background, serving
from tests.cli.command import TIMEOUT, invoke
from tests.cli.terminal import on_terminal

DOOR = Caption("door", "tcp://127.0.0.1:7701", "", 7, 9)
COLOUR = r"\x1b\[[0-9;]*3[0-9]m"


def rate(pulse: Pulse, name: str) -> float:
    return next(row.rate for row in pulse.rows() if row.name == name)


def test_a_rate_counts_the_ticks_of_the_last_seconds() -> None:
    pulse = Pulse({"Bell": 0}, 100.0)
    assert rate(pulse, "Bell") == 0.0
    pulse.look({"Bell": 4}, 102.0)
    assert rate(pulse, "Bell") == 2.0
    for second in range(1, 30):
        pulse.look({"Bell": 4}, 102.0 + second)
    assert rate(pulse, "Bell") == 0.0


def test_a_rate_is_measured_over_the_window_and_not_over_all_time() -> None:
    pulse = Pulse({"Bell": 0}, 0.0)
    for second in range(1, 101):
        pulse.look({"Bell": second * (1 if second < 50 else 3)}, float(second))
    pulse.look({"Bell": 330}, 101.0)
    assert rate(pulse, "Bell") == pytest.approx((330 - 3 * (101 - WINDOW)) / WINDOW)


def test_an_age_counts_from_the_last_change_that_was_seen() -> None:
    pulse = Pulse({"Open": 1, "Bell": 0}, 0.0)
    pulse.look({"Open": 1, "Bell": 1}, 1.0)
    pulse.look({"Open": 1, "Bell": 1}, 3.5)
    assert [row.age for row in pulse.rows()] == [None, 2.5]


def test_a_source_that_counts_from_the_beginning_again_has_no_rate_below_0() -> None:
    pulse = Pulse({"Bell": 50}, 0.0)
    pulse.look({"Bell": 1}, 1.0)
    assert rate(pulse, "Bell") == 0.0


def test_a_state_that_came_later_is_shown() -> None:
    pulse = Pulse({"Bell": 0}, 0.0)
    pulse.look({"Bell": 0, "New": 3}, 1.0)
    assert [(row.name, row.rate) for row in pulse.rows()] == [("Bell", 0.0), ("New", 0.0)]


def test_where_there_is_no_room_for_all_the_ones_that_changed_and_the_active_ones_stay() -> None:
    rows = [
        Row("Idle", 0, 0.0, None),
        Row("Old", 2, 0.0, 90.0),
        Row("Active", 1, 0.0, None),
        Row("Fresh", 4, 1.0, 0.1),
    ]
    assert [row.name for row in liveliest(rows, 2)] == ["Old", "Fresh"]
    assert [row.name for row in liveliest(rows, 3)] == ["Old", "Active", "Fresh"]
    assert liveliest(rows, 4) == rows


def drawn(rows: list[Row], caption: Caption = DOOR, height: int = 40) -> str:
    paper = io.StringIO()
    Console(file=paper, width=80, height=height).print(picture(caption, rows, height))
    return paper.getvalue()


ROWS = [Row("Open", 3, 0.0, 130.0), Row("Closed", 2, 1.25, 0.2)]


def test_a_picture_has_a_row_for_each_state() -> None:
    lines = drawn(ROWS).splitlines()
    assert "door at tcp://127.0.0.1:7701" in lines[0]
    assert "tick 7, queue 9, 1.2 ticks/s" in lines[0]
    assert "● Open" in lines[2]
    assert lines[2].split()[2:] == ["3", "2", "min", "ago"]
    assert "○ Closed" in lines[3]
    assert lines[3].split()[-3:] == ["2", "1.2", "now"]


def test_a_picture_says_that_what_it_shows_may_be_old() -> None:
    problem = "connection lost, trying again"
    assert problem in drawn(ROWS, Caption("door", "x", problem, 1, 1))
    assert problem not in drawn(ROWS)


def test_a_picture_fits_the_terminal_and_tells_what_it_leaves_out() -> None:
    many = [Row(f"S{n}", 0, 0.0, None) for n in range(100)]
    height = 20
    lines = drawn(many, height=height).splitlines()
    assert len(lines) < height
    assert f"{100 - (height - FRAME_LINES)} more" in lines[-1]


def test_on_a_terminal_watch_is_a_table_that_follows_and_ctrl_c_ends_it() -> None:
    with (
        in_background(lambda: serving("door")) as served,
        on_terminal("watch", served.addr, NO_COLOR=None) as (terminal, process),
    ):
        terminal.read_until("TICKS/S")
        terminal.read_until(COLOUR)
        terminal.read_until("○ Open")
        assert invoke("add", served.addr, "Open").returncode == 0
        terminal.read_until(r"● Open *(\x1b\[[0-9;]*m)* *(\x1b\[[0-9;]*m)*1 ")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_without_colours_gets_none(term: str) -> None:
    with (
        in_background(lambda: serving("door")) as served,
        on_terminal("watch", served.addr, NO_COLOR="1", TERM=term) as (terminal, process),
    ):
        shown = terminal.read_until(r"(?s).*Closed.*\n")
        assert ("TICKS/S" in shown) is (term == "xterm")
        assert "\x1b[3" not in shown
        assert ";3" not in shown
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0


def test_a_terminal_that_asks_for_json_gets_lines() -> None:
    with (
        in_background(lambda: serving("door")) as served,
        on_terminal("watch", served.addr, "--json", NO_COLOR=None) as (terminal, process),
    ):
        assert terminal.read_until(r"\{[^\n]*\n").startswith('{"activated": ["Start", "Closed"]')
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
