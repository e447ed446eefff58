"""The single steps of a transition, for those who look into one (spec machine 4.11).

They are recorded only while `Machine.log_steps` is on: first what was called, then what the
relations made of it, then the handlers, and who canceled.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from amzmq.machine.handlers import roles
from amzmq.machine.resolver import Notes, resolve

if TYPE_CHECKING:
    from amzmq.machine.compiled import CompiledSchema
    from amzmq.machine.transition import Transition

T = TypeVar("T")

_SUFFIXES = {"enter": "Enter", "exit": "Exit", "state": "State", "end": "End"}


class StepType(enum.IntFlag):
    """What a step is; the values are those of the wire (spec machine 0)."""

    RELATION = 1
    HANDLER = 2
    ACTIVATE = 4
    DEACTIVATE = 8
    DEACTIVATE_PASSIVE = 16
    """Kept out, not having been active."""
    CALLED = 32
    CANCEL = 64


_LABELS = {
    StepType.HANDLER: "handler",
    StepType.ACTIVATE: "activate",
    StepType.DEACTIVATE: "deactivate",
    StepType.DEACTIVATE_PASSIVE: "deactivate-passive",
    StepType.CALLED: "called",
    StepType.CANCEL: "cancel",
}


class Step(NamedTuple):
    """One step.

    Attributes:
        type: Its kind.
        state: The state it is about; ``Any`` for the handlers of all transitions.
        other: The state that a relation or a cross handler leads to.
        detail: The relation, or the end of the handler's name.

    >>> str(Step(StepType.RELATION, "A", "B", "add")), str(Step(StepType.HANDLER, "A", "", "Exit"))
    ('**A** add **B**', 'handler **A**Exit')
    """

    type: StepType
    state: str
    other: str = ""
    detail: str = ""

    def __str__(self) -> str:
        other = f"**{self.other}**" if self.other else ""
        if self.type is StepType.RELATION:
            return f"**{self.state}** {self.detail} {other}"
        return f"{_LABELS[self.type]} **{self.state}**{other}{self.detail}"


def resolution_steps(schema: CompiledSchema, tx: Transition) -> list[Step]:
    """What the relations make of a transition: resolved again, as plans keep no reasons."""
    names, node, mutation = schema.names, tx.node, tx.mutation
    notes = Notes()
    found = resolve(schema, node.order, mutation.type, mutation.called, notes)
    steps = [Step(StepType.CALLED, names[state]) for state in mutation.called]
    for state, other in notes.pulled:
        steps.append(Step(StepType.RELATION, names[state], names[other], "add"))
    for state, inside in notes.unmet:
        for name in schema.states[names[state]].require:
            if schema.index.get(name) not in inside:
                steps.append(Step(StepType.RELATION, names[state], name, "require"))
    passive = [state for state, _ in notes.unmet]
    for state, blockers in notes.blocked:
        passive.append(state)
        for other in blockers:
            steps.append(Step(StepType.RELATION, names[other], names[state], "remove"))
    steps = _unique(steps)
    if not tx.is_accepted:
        return steps + [Step(StepType.CANCEL, names[state]) for state in found.rejected]
    left = [state for state in node.order if state not in found.target]
    kept_out = _unique(s for s in passive if s not in node.states and s not in found.target)
    steps += [Step(StepType.ACTIVATE, names[state]) for state in found.enters]
    steps += [Step(StepType.DEACTIVATE, names[state]) for state in left]
    return steps + [Step(StepType.DEACTIVATE_PASSIVE, names[state]) for state in kept_out]


def handler_step(schema: CompiledSchema, event: str) -> Step:
    """The step of calling the handlers of an event."""
    role, states = roles(schema, event)[0]
    if not states:
        return Step(StepType.HANDLER, "Any", "", event.removeprefix("Any"))
    if role in _SUFFIXES:
        return Step(StepType.HANDLER, schema.names[states[0]], "", _SUFFIXES[role])
    return Step(StepType.HANDLER, schema.names[states[0]], schema.names[states[-1]])


def cancel_step(step: Step) -> Step:
    """The step that says that the handler of another step has canceled the transition."""
    return Step(StepType.CANCEL, step.other or step.state)


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
