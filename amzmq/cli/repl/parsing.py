"""A line becomes a command: one parser for each, and what it makes of the words.

The parsers also write the help, and tell the completion which options there are.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

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
from amzmq.cli.repl.options import (
    add_args,
    add_filters,
    add_machine,
    add_states,
    add_switch,
    add_timeout,
    args_of,
    filters_of,
    natural,
)
from amzmq.cli.repl.parser import CommandParser, LineInvalid, Names


def split(line: str) -> list[str]:
    """The words of a line, quoted as in a shell.

    Raises:
        LineInvalid: A quotation mark is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise LineInvalid(f"{line!r}: {error}".lower()) from error


def parse(words: Sequence[str]) -> Command:
    """The command that the words are.

    Raises:
        LineInvalid: There is no such command, or it is not written like this.
    """
    if not words:
        raise LineInvalid("no command; help lists all")
    name, *rest = words
    if name not in PARSERS:
        raise LineInvalid(f"no command {name!r}; there are: {' '.join(PARSERS)}")
    if "-h" in rest or "--help" in rest:
        return Help(name)
    return PARSERS[name].command(rest)


def _mutate(kind: Mutation, summary: str) -> CommandParser:
    def make(found: argparse.Namespace) -> Command:
        return Mutate(kind, found.machine, tuple(found.states), args_of(parser, found))

    parser = CommandParser(kind.value, summary, make)
    add_machine(parser)
    add_states(parser)
    add_args(parser)
    return parser


def _group(kind: Mutation, summary: str) -> CommandParser:
    def make(found: argparse.Namespace) -> Command:
        return GroupMutate(kind, tuple(found.states), args_of(parser, found), filters_of(found))

    parser = CommandParser(f"group-{kind.value}", summary, make)
    add_states(parser)
    add_args(parser)
    add_filters(parser)
    return parser


def _when(name: str, active: bool, summary: str) -> CommandParser:
    def make(found: argparse.Namespace) -> Command:
        return When(found.machine, tuple(found.states), active, found.timeout)

    parser = CommandParser(name, summary, make)
    add_machine(parser)
    add_states(parser)
    add_timeout(parser)
    return parser


def _when_time() -> CommandParser:
    def make(found: argparse.Namespace) -> Command:
        if len(found.state) != len(found.tick):
            parser.error(f"{len(found.state)} -s and {len(found.tick)} -t; give a tick per state")
        if len(set(found.state)) != len(found.state):
            parser.error("a state is given twice")
        times = dict(zip(found.state, found.tick, strict=True))
        return WhenTime(found.machine, times, found.timeout)

    parser = CommandParser("when-time", "wait until each state has reached its tick", make)
    add_machine(parser)
    parser.learn(
        parser.add_argument("-s", "--state", action="append", required=True, help="a state"),
        Names.STATE,
    )
    parser.learn(
        parser.add_argument(
            "-t",
            "--tick",
            action="append",
            type=natural,
            required=True,
            help="the tick it is to have",
        )
    )
    add_timeout(parser)
    return parser


def _show() -> CommandParser:
    parser = CommandParser(
        "mach", "show the active states", lambda found: Show(found.machine, found.all)
    )
    add_machine(parser)
    parser.learn(parser.add_argument("--all", action="store_true", help="show all states"), None)
    return parser


def _time() -> CommandParser:
    parser = CommandParser(
        "time", "show the ticks", lambda found: ShowTime(found.machine, found.sum)
    )
    add_machine(parser)
    parser.learn(
        parser.add_argument("--sum", action="store_true", help="show their sum instead"), None
    )
    return parser


def _inspect() -> CommandParser:
    parser = CommandParser(
        "inspect", "show all about the states", lambda found: Inspect(found.machine)
    )
    add_machine(parser)
    return parser


def _list() -> CommandParser:
    def make(found: argparse.Namespace) -> Command:
        return ListMachines(filters_of(found), found.states, found.states_all, found.disconn)

    parser = CommandParser("list", "list the machines", make)
    add_switch(parser, "-z", "--states", "show active states")
    parser.learn(
        parser.add_argument("-Z", "--states-all", action="store_true", help="show all states"), None
    )
    add_switch(parser, "-d", "--disconn", "also those not connected")
    add_filters(parser)
    return parser


def _script() -> CommandParser:
    summary = "run the lines of a file, up to the first that fails"
    parser = CommandParser("script", summary, lambda found: Script(found.path))
    parser.learn(parser.add_argument("path", metavar="FILE"))
    return parser


def _help() -> CommandParser:
    parser = CommandParser("help", "show all commands, or one", lambda found: Help(found.topic))
    parser.learn(
        parser.add_argument("topic", metavar="COMMAND", nargs="?", default=""), Names.COMMAND
    )
    return parser


def _bare(name: str, summary: str, command: Command) -> CommandParser:
    return CommandParser(name, summary, lambda found: command)


PARSERS = {
    parser.prog: parser
    for parser in (
        _mutate(Mutation.ADD, "activate states"),
        _mutate(Mutation.REMOVE, "deactivate states"),
        _mutate(Mutation.SET, "activate exactly these states"),
        _mutate(Mutation.TOGGLE, "deactivate the states if all are active, else activate them"),
        _group(Mutation.ADD, "activate states of every machine that has them and matches"),
        _group(Mutation.REMOVE, "deactivate states of every machine that has them and matches"),
        _when("when", True, "wait until all the states are active"),
        _when("when-not", False, "wait until all the states are inactive"),
        _when_time(),
        _show(),
        _time(),
        _inspect(),
        _list(),
        _bare("status", "count the machines by their connection", Status()),
        _bare("connect", "try now to connect what is not connected (shell only)", Connect()),
        _script(),
        _bare("cheatsheet", "show examples", Cheatsheet()),
        _help(),
        _bare("exit", "leave (shell only)", Exit()),
    )
}
"""The commands by name, in the order of the help."""
