"""Arguments and options that several commands have, and how they are read."""

from __future__ import annotations

import argparse
import re

from amzmq.cli.arguments import parse_value
from amzmq.cli.repl.filters import Filters
from amzmq.cli.repl.parser import CommandParser, Names


def add_machine(parser: CommandParser) -> None:
    """Add the name of a machine."""
    text = "id of a machine, ID@ADDR where several have it, or . for the first that is ready"
    parser.learn(parser.add_argument("machine", metavar="MACH", help=text), Names.MACHINE)


def add_states(parser: CommandParser) -> None:
    """Add names of states, one at least."""
    parser.learn(
        parser.add_argument("states", metavar="STATE", nargs="+", help="names of states"),
        Names.STATES,
    )


def add_timeout(parser: CommandParser) -> None:
    """Add the longest time to wait."""
    parser.learn(
        parser.add_argument("--timeout", type=_seconds, metavar="S", help="seconds to wait at most")
    )


def add_args(parser: CommandParser) -> None:
    """Add arguments for the handlers; see `args_of`."""
    parser.learn(
        parser.add_argument(
            "--arg",
            action="append",
            default=[],
            metavar="NAME",
            help="name of an argument, with a --val for each; or NAME=VALUE",
        ),
        Names.ARG,
    )
    parser.learn(
        parser.add_argument(
            "--val",
            action="append",
            default=[],
            metavar="VALUE",
            help="its value: JSON where it is JSON, else text",
        )
    )


def args_of(parser: CommandParser, found: argparse.Namespace) -> dict[str, object]:
    """The pairs of --arg and --val; an --arg with a value of its own needs no --val.

    Raises:
        LineInvalid: Not as many of the one as of the other, or a name comes twice.
    """
    values = iter(found.val)
    without = sum("=" not in arg for arg in found.arg)
    if without != len(found.val):
        parser.error(f"{without} --arg and {len(found.val)} --val; give a value per argument")
    args: dict[str, object] = {}
    for arg in found.arg:
        name, equals, value = arg.partition("=")
        if not name or name in args:
            parser.error(f"--arg {arg}: " + ("it has no name" if not name else "given twice"))
        args[name] = parse_value(value if equals else next(values))
    return args


def add_filters(parser: CommandParser) -> None:
    """Add all filters; see `filters_of`."""
    _add_states_option(parser, "-a", "--active", "only with this state active")
    _add_states_option(parser, "-i", "--inactive", "only with this state inactive")
    parser.learn(
        parser.add_argument(
            "-t", "--min-time", type=natural, metavar="SUM", help="time sum at least"
        )
    )
    parser.learn(
        parser.add_argument(
            "-T", "--max-time", type=natural, metavar="SUM", help="time sum at most"
        )
    )
    _add_states_option(parser, "-m", "--sum-state", "the time sum is of these states")
    parser.learn(
        parser.add_argument("-P", "--parent", metavar="ID", help="only children of this machine"),
        Names.PARENT,
    )
    parser.learn(
        parser.add_argument("-r", "--regexp", type=_regexp, metavar="RE", help="found in the id")
    )
    parser.learn(
        parser.add_argument("-I", "--substring", default="", metavar="TEXT", help="part of the id")
    )
    parser.learn(
        parser.add_argument(
            "-p", "--prefix", default="", metavar="TEXT", help="the id begins with it"
        )
    )
    parser.learn(
        parser.add_argument(
            "-s", "--suffix", default="", metavar="TEXT", help="the id ends with it"
        )
    )
    parser.learn(
        parser.add_argument("-l", "--limit", type=natural, metavar="N", help="so many at most")
    )
    parser.learn(
        parser.add_argument(
            "-f",
            "--from",
            dest="start",
            type=natural,
            default=0,
            metavar="N",
            help="leave out the first N",
        )
    )


def add_switch(parser: CommandParser, short: str, long: str, text: str) -> None:
    """An option that is on, and has a --no- form."""
    action = argparse.BooleanOptionalAction
    parser.learn(parser.add_argument(short, long, action=action, default=True, help=text), None)


def filters_of(found: argparse.Namespace) -> Filters:
    """What was read of `add_filters`."""
    return Filters(
        active=tuple(found.active),
        inactive=tuple(found.inactive),
        min_sum=found.min_time,
        max_sum=found.max_time,
        sum_states=tuple(found.sum_state),
        parent=found.parent,
        pattern=found.regexp,
        substring=found.substring,
        prefix=found.prefix,
        suffix=found.suffix,
        limit=found.limit,
        start=found.start,
    )


def natural(text: str) -> int:
    """A number from 0 up.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)


def _add_states_option(parser: CommandParser, short: str, long: str, text: str) -> None:
    parser.learn(
        parser.add_argument(short, long, action="append", default=[], metavar="STATE", help=text),
        Names.STATE,
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _regexp(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error
