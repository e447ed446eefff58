from __future__ import annotations

import re

import pytest

from amzmq.cli.repl.commands import (
    Cheatsheet,
    Command,
    Connect,
    Exit,
    GroupMutate,
    Help,
    Inspect,
    ListMachines,
    Mutate,
    Mutation,
    Script,
    Show,
    ShowTime,
    Status,
    When,
    WhenTime,
)
from amzmq.cli.repl.filters import Filters
from amzmq.cli.repl.parser import LineInvalid
from amzmq.cli.repl.parsing import PARSERS, parse, split

COMMANDS = (
    "add remove set toggle group-add group-remove when when-not when-time mach time inspect list "
    "status connect script cheatsheet help exit"
).split()


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("add door Open Bell", Mutate(Mutation.ADD, "door", ("Open", "Bell"))),
        ("remove . Open", Mutate(Mutation.REMOVE, ".", ("Open",))),
        ("set door Open", Mutate(Mutation.SET, "door", ("Open",))),
        ("toggle door Open", Mutate(Mutation.TOGGLE, "door", ("Open",))),
        (
            "add door --arg user --val 42 Open --arg by --val 'ann b' --arg note=hi",
            Mutate(Mutation.ADD, "door", ("Open",), {"user": 42, "by": "ann b", "note": "hi"}),
        ),
        (
            "group-add Bell -p d --arg n --val '[1]'",
            GroupMutate(Mutation.ADD, ("Bell",), {"n": [1]}, Filters(prefix="d")),
        ),
        ("group-remove Bell Open", GroupMutate(Mutation.REMOVE, ("Bell", "Open"))),
        ("when door Open Bell", When("door", ("Open", "Bell"))),
        ("when-not door Open --timeout 2.5", When("door", ("Open",), False, 2.5)),
        ("when-time door -s A -t 3 -s B -t 0", WhenTime("door", {"A": 3, "B": 0})),
        ("mach door", Show("door")),
        ("mach door --all", Show("door", all=True)),
        ("time door", ShowTime("door")),
        ("time door --sum", ShowTime("door", sum=True)),
        ("inspect door", Inspect("door")),
        ("list", ListMachines()),
        (
            "list --no-states -Z --no-disconn",
            ListMachines(states=False, states_all=True, disconn=False),
        ),
        ("list -z -d", ListMachines()),
        ("status", Status()),
        ("connect", Connect()),
        ("script 'my file'", Script("my file")),
        ("cheatsheet", Cheatsheet()),
        ("help", Help()),
        ("help add", Help("add")),
        ("add --help", Help("add")),
        ("exit", Exit()),
    ],
)
def test_a_line_becomes_its_command(line: str, command: Command) -> None:
    assert parse(split(line)) == command


def test_every_command_has_a_parser() -> None:
    assert list(PARSERS) == COMMANDS


def test_all_filters_are_read() -> None:
    line = "list -a A -a B -i C -t 3 -T 9 -m D -m E -P mum -r ^d -I oo -p d -s r -l 5 -f 2"
    command = parse(split(line))
    assert isinstance(command, ListMachines)
    assert command.filters == Filters(
        active=("A", "B"),
        inactive=("C",),
        min_sum=3,
        max_sum=9,
        sum_states=("D", "E"),
        parent="mum",
        pattern=re.compile("^d"),
        substring="oo",
        prefix="d",
        suffix="r",
        limit=5,
        start=2,
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fly", "no command 'fly'"),
        ("add", "usage: add"),
        ("add door", "states|STATE"),
        ("add door Open --arg user", "1 --arg and 0 --val"),
        ("add door Open --val 1", "0 --arg and 1 --val"),
        ("add door Open --arg a=1 --arg a=2", "given twice"),
        ("add door Open --arg =1", "no name"),
        ("add door Open --nothing", "--nothing"),
        ("group-add", "usage: group-add"),
        ("when door Open --timeout soon", "'soon' is no number of seconds"),
        ("when door Open --timeout -1", "timeout"),
        ("when door Open --timeout inf", "'inf' is no number of seconds"),
        ("when-time door -s A", "required"),
        ("when-time door -s A -s B -t 1", "2 -s and 1 -t"),
        ("when-time door -s A -s A -t 1 -t 2", "twice"),
        ("when-time door -s A -t -1", "-t"),
        ("list -t x", "'x' is no number"),
        ("list -r (", "'\\(' is no regular expression"),
        ("list door", "door"),
        ("mach", "MACH"),
        ("mach door gate", "gate"),
        ("script", "FILE"),
        ("exit now", "now"),
        ("add door 'Open", "no closing quotation"),
        ("", "no command"),
    ],
)
def test_a_line_that_is_no_command_says_what_is_wrong(line: str, says: str) -> None:
    with pytest.raises(LineInvalid, match=says):
        parse(line.split() if line.startswith("list -r") else split(line))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_that_names_it(name: str) -> None:
    assert PARSERS[name].format_help().startswith(f"usage: {name}")
    assert PARSERS[name].summary in PARSERS[name].format_help().replace("\n", " ")
