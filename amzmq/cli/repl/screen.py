"""Outcomes and problems on standard output and error: coloured on a terminal, or as JSON."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from amzmq.cli.arguments import print_json
from amzmq.cli.repl.interpreter import Outcome

_RESULT_STYLES = {"executed": "green", "queued": "yellow", "canceled": "red"}


def print_outcome(outcome: Outcome) -> None:
    """Print what came of a command; its first word has a colour where it is a result."""
    text = Text(outcome.text)
    first = outcome.text.split(maxsplit=1)[:1]
    if first and first[0] in _RESULT_STYLES:
        text.stylize(_RESULT_STYLES[first[0]], 0, len(first[0]))
    elif outcome.status:
        text.stylize("red")
    # Made for each: standard output may be another one by now.
    Console(soft_wrap=True, highlight=False).print(text)


def print_outcome_json(outcome: Outcome) -> None:
    """Print what came of a command as one line of JSON."""
    print_json(outcome.data)


def print_problem(reason: str) -> None:
    """Print why something could not be done, in one line on standard error."""
    line = Text("err> ", style="red").append(" ".join(reason.split()), style="default")
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)
