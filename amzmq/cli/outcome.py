"""How a command ends: its exit status, and errors as one line without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from amzmq.errors import AmzmqError

BAD = 1
"""The answer is no: a canceled mutation, a wait whose time ran out, a verdict that is not good."""

NOT_ASKED = 2
"""There is no answer: wrong usage, no connection, an error on the way."""

INTERRUPTED = 130
"""Ended by Ctrl-C where that is not how the command is meant to end; as shells count it."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn our errors into one line on standard error and exit status 2.

    A reader that went away, as in ``| head -1``, ends the command quietly.
    """
    try:
        yield
    except AmzmqError as error:
        fail(str(error))
    except BrokenPipeError:
        # Python flushes standard output once more on exit; it must not fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def fail(reason: str) -> NoReturn:
    """End the command: it could not be done, and why.

    Raises:
        typer.Exit: Always, with status 2.
    """
    typer.echo(f"amzmq: {' '.join(reason.split())}", err=True)
    raise typer.Exit(NOT_ASKED)
