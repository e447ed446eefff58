from __future__ import annotations

import pytest

from amzmq.cli.repl.completion import MachineSeen, StateSeen, complete, seen
from amzmq.cli.repl.parsing import PARSERS

from .rig import Rig

DOOR = MachineSeen(
    "door",
    parent="house",
    states=(
        StateSeen("Open", active=False, multi=False),
        StateSeen("Closed", active=True, multi=False),
        StateSeen("Bell", active=True, multi=True),
    ),
    args=("Open.user", "Open.why", "Bell.volume", "Trace.id"),
)
LAMP = MachineSeen("lamp", states=(StateSeen("On", active=True, multi=False),))
AWAY = MachineSeen("away", ready=False)
ALL = [DOOR, LAMP, AWAY]


def words(text: str) -> str:
    return " ".join(complete(text, ALL).words)


def test_the_first_word_is_a_command() -> None:
    assert complete("", ALL).words == list(PARSERS)
    assert complete("group-", ALL) == (["group-add", "group-remove"], "group-")
    assert words("he") == words("help he") == "help"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("add ", ". door lamp away"),
        ("add d", "door"),
        ("inspect ", ". door lamp away"),
        ("inspect door ", ""),
        ("status ", ""),
        ("fly ", ""),
        # Only what would change something.
        ("add door ", "Open Bell"),
        ("add . ", "Open Bell"),
        ("add lamp ", ""),
        ("add away ", ""),
        ("add door Open ", "Bell"),
        ("add door O", "Open"),
        ("remove door ", "Closed Bell"),
        ("toggle door ", "Open Closed Bell"),
        ("set door ", "Open Closed Bell"),
        ("when door ", "Open"),
        ("when-not door ", "Closed Bell"),
        ("when-time door -s ", "Open Closed Bell"),
        ("when-time door -s Open -t ", ""),
        ("group-add ", "Open Bell"),
        ("group-add Open ", "Bell"),
        ("group-remove ", "Closed Bell On"),
        ("group-add -a ", "Open Closed Bell On"),
        ("list -i O", "Open On"),
        ("list -P ", "house"),
        ("list -r ", ""),
        # An argument, then its value.
        ("add door Open --", "--arg"),
        ("add door Open --arg ", "user why id"),
        ("add door --arg ", "user why volume id"),
        ("add door Open --arg user --", "--val"),
        ("add door Open --arg user --val ", ""),
        ("add door Open --arg user --val 42 --", "--arg"),
        ("add door Open --arg user=42 --", "--arg"),
        ("add door --arg user --val 42 ", "Open Bell"),
        ("when door Open --t", "--timeout"),
        ("mach door -", "--all"),
        ("list --no", "--no-states --no-disconn"),
    ],
)
def test_what_makes_sense_next_is_offered(text: str, found: str) -> None:
    assert words(text) == found


def test_the_dot_is_offered_only_if_it_means_a_machine() -> None:
    assert complete("add ", [AWAY]).words == ["away"]


async def test_machines_are_seen_as_they_are_now(rig: Rig) -> None:
    door, _ = await rig.serve_all("door", "gate")
    assert complete("add door ", seen(rig.machines)).words == ["Open", "Alarm", "Bell", "Exception"]
    await rig.run("add door Open")
    assert "Open" not in complete("add door ", seen(rig.machines)).words
    assert complete("add door Bell --arg ", seen(rig.machines)).words == ["volume"]
    assert complete("mach ", seen(rig.machines)).words == [".", "door", "gate"]
    assert door.is_("Open")
