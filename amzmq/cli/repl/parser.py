"""The parser of one command, which also knows what its arguments name."""

from __future__ import annotations

import argparse
import enum
from collections.abc import Callable, Sequence
from typing import NoReturn

from amzmq.cli.repl.commands import Command
from amzmq.errors import AmzmqError


class LineInvalid(AmzmqError):
    """A line that is no command; the message says what is wrong with it."""


class Names(enum.Enum):
    """What the value of an argument names, for completion."""

    NOTHING = "nothing"
    MACHINE = "a machine"
    STATE = "a state"
    STATES = "states, of the kind that the command is for"
    ARG = "an argument"
    PARENT = "a machine's parent"
    COMMAND = "a command"


class CommandParser(argparse.ArgumentParser):
    """The parser of one command.

    Args:
        name: Of the command.
        summary: One line about it.
        make: Makes the command of what was parsed.

    Attributes:
        values: Option to what its value names; None for an option without a value.
        positionals: What each positional argument names; the last one may come more than once.
    """

    def __init__(
        self, name: str, summary: str, make: Callable[[argparse.Namespace], Command]
    ) -> None:
        super().__init__(prog=name, description=summary, add_help=False, allow_abbrev=False)
        self.summary = summary
        self.values: dict[str, Names | None] = {}
        self.positionals: list[Names] = []
        self._make = make

    def learn(self, action: argparse.Action, names: Names | None = Names.NOTHING) -> None:
        """Keep what the value of an argument names; None for an option without a value."""
        if action.option_strings:
            self.values |= dict.fromkeys(action.option_strings, names)
        elif names is not None:
            self.positionals.append(names)

    def command(self, words: Sequence[str]) -> Command:
        """The command with these words behind its name.

        Raises:
            LineInvalid: They do not fit.
        """
        return self._make(self.parse_intermixed_args(words))

    def error(self, message: str) -> NoReturn:
        """Instead of ending the program.

        Raises:
            LineInvalid: Always.
        """
        usage = " ".join(self.format_usage().removeprefix("usage: ").split())
        raise LineInvalid(f"{self.prog}: {message}; usage: {usage}")
