"""What a machine writes about itself, line by line (spec machine 9.8).

The lines go to the logger ``amzmq.machine``, and to a function of the user's if there is one.
A machine whose level is `LogLevel.NOTHING`, the default, has no `MachineLog` at all.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from amzmq.machine.conditions import ArgsWait, Condition, QueryWait, QueueWait, StatesWait, TimeWait
from amzmq.machine.mutation import Mutation
from amzmq.machine.resolver import MutationType, Notes, resolve

if TYPE_CHECKING:
    from amzmq.machine.compiled import CompiledSchema
    from amzmq.machine.plans import Outcome
    from amzmq.machine.transition import Transition
    from amzmq.machine.wait import StateCtx

_log = logging.getLogger("amzmq.machine")

_ARG_KEYS = frozenset({"name", "id", "port", "addr", "err", "path", "url", "uri"})
_ARG_LENGTH = 20

_NEVER_MERGED = ("[pipe", "[ctx", "[when")
"""How lines begin that are kept each time, though they say the same."""

_KEPT_LINES = 100
"""How many lines between two transitions are kept for `pre_log_entries`."""


class LogLevel(enum.IntEnum):
    """How much a machine logs; the values are those of the wire (spec machine 0)."""

    NOTHING = 0
    EXTERNAL = 1
    CHANGES = 2
    OPS = 3
    DECISIONS = 4
    EVERYTHING = 5


_STDLIB = {level: logging.INFO for level in (LogLevel.EXTERNAL, LogLevel.CHANGES)}

ArgsMapper = Callable[[Mapping[str, object]], Mapping[str, str]]
"""Chooses which arguments are logged, and how."""

Sink = Callable[[LogLevel, str], None]
"""Takes the lines of a machine."""


def log_args(
    args: Mapping[str, object], keys: Iterable[str] = _ARG_KEYS, length: int = _ARG_LENGTH
) -> dict[str, str]:
    """The arguments worth a place in a log line, cut to `length`: the default mapper.

    >>> log_args({"name": "a name that is far too long", "secret": "x"})
    {'name': 'a name that is fa...'}
    """
    wanted = frozenset(keys)
    return {key: _cut(str(args[key]), length) for key in sorted(args) if key in wanted}


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return text[:length] if length < 5 else text[: length - 3] + "..."


class MachineLog:
    """The log of one machine.

    Args:
        machine_id: Its first five characters begin each line.
        schema: For the names of the states.
        level: How much is logged.
        sink: Takes the lines instead of the logger of the standard library.
        mapper: Chooses the logged arguments; None logs none.
        show_id: Whether lines begin with the id.
    """

    def __init__(
        self,
        machine_id: str,
        schema: CompiledSchema,
        level: LogLevel,
        sink: Sink | None = None,
        mapper: ArgsMapper | None = log_args,
        show_id: bool = True,
    ) -> None:
        self.level = level
        self.schema = schema
        self.sink = sink
        self.mapper = mapper
        self.show_id = show_id
        self._prefix = f"[{machine_id[:5]}] " if show_id else ""
        self._before: list[str] = []
        self._muted = False
        self.tx: Transition | None = None

    def mute(self) -> None:
        """The machine is being disposed: nothing more is written."""
        self._muted = True

    def last(self, level: LogLevel, text: str) -> None:
        """A line about the disposal itself."""
        self._muted = False
        self.write(level, text)
        self._muted = True

    def write(self, level: LogLevel, text: str) -> None:
        """One line, if the level allows it; a running transition keeps it too."""
        if level > self.level or self._muted:
            return
        line = self._prefix + text
        tx = self.tx
        if tx is not None and not tx.is_completed:
            tx.log_entries.append(line)
        elif self._before[-1:] != [line] or text.startswith(_NEVER_MERGED):
            self._before.append(line)
            del self._before[:-_KEPT_LINES]
        if self.sink is None:
            _log.log(_STDLIB.get(level, logging.DEBUG), "%s", line)
            return
        try:
            self.sink(level, line)
        except Exception:
            _log.exception("the log function of machine %s failed", self._prefix)

    def begin(self, tx: Transition) -> None:
        """A transition starts: it is told of the mutation and of what the relations say."""
        self.tx = tx
        mutation = tx.mutation
        if mutation.is_auto:
            self.write(LogLevel.DECISIONS, f"[add:auto] {self._called(mutation)}")
        else:
            self.write(LogLevel.OPS, self._with_args(f"[{mutation.type}]", mutation))
        if mutation.source is not None:
            machine_id, tx_id, time = mutation.source
            self.write(LogLevel.OPS, f"[source] {machine_id}/{tx_id}/{time}")
        self._explain(tx)

    def end(self, tx: Transition) -> None:
        """A transition ends: it takes what was logged since the one before."""
        tx.pre_log_entries[:] = self._before
        self._before = []

    def queued(self, how: str, mutation: Mutation) -> None:
        """A mutation was appended (``queue``) or prepended (``prepend``)."""
        self.write(LogLevel.OPS, self._with_args(f"[{how}:{mutation.type}]", mutation))

    def postponed(self, count: int) -> None:
        """A drain is running already."""
        items = "1 item" if count == 1 else f"{count} items"
        self.write(LogLevel.OPS, f"[postpone] queue running ({items})")

    def committed(self, tx: Transition, outcome: Outcome) -> None:
        """The states have changed."""
        before = set(tx.states_before)
        target = self.names(outcome.target)
        again = [name for name in self.names(outcome.enters) if name in before]
        parts = [f"+{name}" for name in target if name not in before] + [f"+{n}" for n in again]
        parts += [f"-{name}" for name in tx.states_before if name not in set(target)]
        if self.level >= LogLevel.EVERYTHING:
            parts += [name for name in target if name in before]
        if parts:
            label = "[auto_]" if tx.is_auto else "[state]"
            text = f"{label} {' '.join(parts)}{self._args(tx.mutation.args)}"
            self.write(LogLevel.CHANGES, text)

    def canceled(self, tx: Transition, by: str, label: str = "cancel") -> None:
        """Somebody objected, took too long, or raised."""
        self.write(LogLevel.OPS, f"[{label}] ({' '.join(tx.target)}) by {by}")

    def wait(self, wait: Condition, what: str) -> None:
        """A wait was registered (``new``) or released (``match``)."""
        if self.level < LogLevel.OPS:
            return
        if isinstance(wait, StatesWait):
            kind = "when" if wait.wanted else "whenNot"
            text = " ".join(self.names(sorted(wait.states)))
        elif isinstance(wait, TimeWait):
            kind = "whenTime"
            text = f"{','.join(wait.asked)} {' '.join(map(str, wait.asked.values()))}"
        elif isinstance(wait, ArgsWait):
            kind, text = "whenArgs", f"{self.schema.names[wait.state]} ({','.join(wait.args)})"
        elif isinstance(wait, QueryWait):
            kind, text = "whenQuery", str(wait.number)
        else:
            assert isinstance(wait, QueueWait)
            kind, text = "whenQueue", str(int(wait.tick))
        self.write(LogLevel.OPS, f"[{kind}:{what}] {text}")

    def context(self, context: StateCtx, what: str) -> None:
        """A state context was made (``new``) or has expired (``match``)."""
        self.write(LogLevel.OPS, f"[ctx:{what}] {context.state}")

    def failed(self, tx: Transition, error: BaseException, trace: str) -> None:
        """A handler raised."""
        called = " ".join(tx.called)
        text = f"[error:{tx.type}] {called} ({error})"
        self.write(LogLevel.CHANGES, f"{text}\n{trace}" if trace else text)

    def kept_out(self, active: Iterable[int]) -> None:
        """Auto states that do not follow, as active states remove them."""
        if self.level < LogLevel.EVERYTHING:
            return
        inside = tuple(active)
        for state in self.schema.auto:
            by = [other for other in inside if state in self.schema.remove[other]]
            if state not in inside and by:
                names = " ".join(self.names(by))
                text = f"[auto:rel:remove] {self.schema.names[state]} by {names}"
                self.write(LogLevel.EVERYTHING, text)

    def names(self, states: Iterable[int]) -> list[str]:
        """The names of states."""
        return [self.schema.names[state] for state in states]

    def _explain(self, tx: Transition) -> None:
        """What the relations made of the mutation: resolved again, as plans keep no reasons."""
        if self.level < LogLevel.OPS:
            return
        schema, node = self.schema, tx.node
        mutation = tx.mutation
        notes = Notes()
        found = resolve(schema, node.order, mutation.type, mutation.called, notes)
        asked = {*mutation.called} if mutation.type is not MutationType.REMOVE else set()
        if implied := [s for s in found.target if s not in asked and s not in node.states]:
            self.write(LogLevel.OPS, f"[implied] {' '.join(self.names(implied))}")
        if notes.unmet:
            # A state may be pulled in, and dropped, twice.
            unmet = " ".join(dict.fromkeys(self._unmet(at, inside) for at, inside in notes.unmet))
            kind = LogLevel.DECISIONS if mutation.is_auto else LogLevel.OPS
            self.write(kind, f"[reject{':auto' if mutation.is_auto else ''}] {unmet}")
        for state, by in notes.blocked:
            kind = LogLevel.OPS if state in node.states else LogLevel.DECISIONS
            text = f"[rel:remove] {schema.names[state]} by {' '.join(self.names(by))}"
            self.write(kind, text)
        if not tx.is_accepted:
            self.write(LogLevel.OPS, f"[cancel:reject] {' '.join(self.names(found.rejected))}")

    def _unmet(self, state: int, inside: frozenset[int]) -> str:
        name = self.schema.names[state]
        required = self.schema.states[name].require
        missing = [other for other in required if self.schema.index.get(other) not in inside]
        return f"{name}({' '.join(f'-{other}' for other in missing)})"

    def _called(self, mutation: Mutation) -> str:
        return " ".join(self.names(mutation.called))

    def _with_args(self, label: str, mutation: Mutation) -> str:
        return f"{label} {self._called(mutation)}{self._args(mutation.args)}"

    def _args(self, args: Mapping[str, object]) -> str:
        chosen = self.mapper(args) if self.mapper is not None and args else {}
        if not chosen:
            return ""
        return f" ({' '.join(f'{key}={chosen[key]}' for key in sorted(chosen))})"
