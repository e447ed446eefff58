"""The shell: a prompt with completion and history, and Ctrl-C that ends one command only."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from amzmq.cli.repl.completion import complete, seen
from amzmq.cli.repl.interpreter import Interpreter, LeaveShell
from amzmq.cli.repl.machines import Machines
from amzmq.cli.repl.screen import print_problem
from amzmq.errors import AmzmqError

PROMPT = "amzmq> "

TOOLBAR_INTERVAL = 0.5
"""Seconds after which the line below the prompt is drawn anew."""


def history_file() -> Path:
    """Where the history is kept: ``$XDG_STATE_HOME/amzmq/history``."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "amzmq" / "history"


def new_prompt(
    machines: Machines,
    history: Path,
    *,
    terminal_in: Input | None = None,
    terminal_out: Output | None = None,
) -> PromptSession[str]:
    """A prompt that knows the machines.

    Args:
        machines: For completion and the line below the prompt.
        history: The file for the lines of this and earlier shells; made if missing.
        terminal_in: The terminal's keys; standard input by default.
        terminal_out: The terminal's screen; standard output by default.
    """
    return PromptSession(
        PROMPT,
        history=_history(history),
        completer=MachineCompleter(machines),
        complete_while_typing=False,
        bottom_toolbar=lambda: toolbar(machines),
        refresh_interval=TOOLBAR_INTERVAL,
        input=terminal_in,
        output=terminal_out,
    )


async def run_shell(interpreter: Interpreter, prompt: PromptSession[str]) -> None:
    """Ask for lines and run them until ``exit`` or Ctrl-D."""
    while True:
        try:
            line = await prompt.prompt_async()
        except KeyboardInterrupt:
            continue  # Ctrl-C empties the line
        except EOFError:
            return
        try:
            await run_interruptible(interpreter.run_line(line))
        except LeaveShell:
            return
        except AmzmqError as error:
            print_problem(str(error))


async def run_interruptible(command: Coroutine[Any, Any, int]) -> None:
    """Run a command to its end, or until Ctrl-C, which ends nothing else."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(command)
    interrupted = asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupted.is_set():
            raise
        print_problem("interrupted; a change that was sent may still happen")
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _history(path: Path) -> History:
    """The history in a file that only this user reads; without a file if it cannot be had."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        print_problem(f"the history is not kept: {error}")
        return InMemoryHistory()
    return FileHistory(str(path))


def toolbar(machines: Machines) -> str:
    """How many machines are connected."""
    entries = machines.entries()
    ready = sum(entry.is_ready for entry in entries)
    text = f"{ready} of {len(entries)} machines connected"
    if failures := machines.failures:
        text += f"; no answer from {' '.join(failures)}"
    return text


class MachineCompleter(Completer):
    """Completes commands, machines, states and arguments, as they are at this moment."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """The candidates for the word that the cursor is behind."""
        found = complete(document.text_before_cursor, seen(self._machines))
        for word in found.words:
            yield Completion(word, start_position=-len(found.typed))
