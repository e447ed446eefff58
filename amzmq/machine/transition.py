"""One mutation being processed, as handlers and tracers see it (spec machine 4.11)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from amzmq.machine.clock import Time, TimeIndex
from amzmq.machine.mutation import Mutation, Source
from amzmq.machine.plans import Deltas, Node, Outcome, Plan
from amzmq.machine.steps import Step

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine


class _Seen:
    """What is kept of a transition only because somebody looks at it."""

    __slots__ = ("after", "before", "id", "log_entries", "pre_log_entries", "queue_len", "steps")

    def __init__(self) -> None:
        self.id = ""
        self.before: Time | None = None
        self.after: Time | None = None
        self.log_entries: list[str] = []
        self.pre_log_entries: list[str] = []
        self.queue_len = 0
        self.steps: list[Step] | None = None


class Transition:
    """The processing of one mutation; handlers and tracers see it.

    Attributes:
        machine: The machine it happens on.
        mutation: The request.
        is_accepted: Whether nothing has objected so far; final once `is_completed`.
        is_completed: Whether it has ended.
    """

    __slots__ = (
        "_applied",
        "_outcome",
        "_plan",
        "_seen_by",
        "is_accepted",
        "is_completed",
        "machine",
        "mutation",
    )

    def __init__(self, machine: Machine, mutation: Mutation, plan: Plan) -> None:
        self.machine = machine
        self.mutation = mutation
        self._plan = plan
        self._outcome: Outcome = plan.outcome
        self.is_accepted = plan.accepted
        self.is_completed = False
        self._applied: Deltas = ()
        self._seen_by: _Seen | None = None

    @property
    def _seen(self) -> _Seen:
        seen = self._seen_by
        if seen is None:
            seen = self._seen_by = _Seen()
        return seen

    @property
    def id(self) -> str:
        """A random id of 16 hex digits."""
        seen = self._seen
        if not seen.id:
            seen.id = secrets.token_hex(8)
        return seen.id

    @property
    def type(self) -> str:
        """The kind of mutation: add, remove or set."""
        return str(self.mutation.type)

    @property
    def called(self) -> list[str]:
        """Names of the called states, in order of the call."""
        return self._names(self.mutation.called)

    @property
    def is_auto(self) -> bool:
        """Whether the auto mechanism made it."""
        return self.mutation.is_auto

    @property
    def is_check(self) -> bool:
        """Whether it is a dry run."""
        return self.mutation.is_check

    @property
    def is_health(self) -> bool:
        """Whether it adds Heartbeat or Healthcheck alone, which never triggers auto states."""
        return self._plan.health

    @property
    def source(self) -> Source | None:
        """Where the mutation came from."""
        return self.mutation.source

    @property
    def node(self) -> Node:
        """The active states it started from."""
        return self._plan.node

    @property
    def states_before(self) -> list[str]:
        """The states that were active before, in active order."""
        return list(self._plan.node.ordered_names)

    @property
    def target(self) -> list[str]:
        """The states that will be active, in their new order."""
        return self._names(self._outcome.target)

    @property
    def enters(self) -> list[str]:
        """The states whose entry handlers run; none when rejected."""
        return self._names(self._outcome.enters) if self._plan.accepted else []

    @property
    def exits(self) -> list[str]:
        """The states whose exit handlers run; none when rejected."""
        return self._names(self._outcome.exits) if self._plan.accepted else []

    # Clocks.

    @property
    def time_before(self) -> Time:
        """The machine's time before."""
        before = self._seen.before
        return self.pin() if before is None else before

    @property
    def time_after(self) -> Time:
        """The machine's time after: a prediction before commit, the present one if canceled."""
        after = self._seen.after
        if after is not None:
            return after
        before = self.time_before
        if self.is_check or not self.is_accepted:
            return before
        ticks = list(before)
        for state, delta in self._outcome.deltas:
            ticks[state] += delta
        return Time(ticks)

    @property
    def clock_before(self) -> dict[str, int]:
        """`time_before` by name."""
        return dict(zip(self.machine.state_names, self.time_before, strict=True))

    @property
    def clock_after(self) -> dict[str, int]:
        """`time_after` by name."""
        return dict(zip(self.machine.state_names, self.time_after, strict=True))

    @property
    def time_index_before(self) -> TimeIndex:
        """`time_before` with the names."""
        return self.time_before.to_index(self.machine.state_names)

    @property
    def time_index_after(self) -> TimeIndex:
        """`time_after` with the names."""
        return self.time_after.to_index(self.machine.state_names)

    @property
    def time_index_called(self) -> TimeIndex:
        """The called states as active ones."""
        return TimeIndex.of_active(self.machine.state_names, self.called)

    def time_index_diff(self) -> tuple[list[str], list[str]]:
        """The states added and removed; a state that only ticked counts as added."""
        added: list[str] = []
        removed: list[str] = []
        for name in self.time_index_time_diff():
            left = self.time_index_after.not_(name) and self.time_index_before.is_(name)
            (removed if left else added).append(name)
        return added, removed

    def time_index_time_diff(self) -> list[str]:
        """The states whose ticks changed."""
        pairs = zip(self.machine.state_names, self.time_before, self.time_after, strict=True)
        return [name for name, before, after in pairs if before != after]

    # Steps.

    @property
    def steps(self) -> list[Step]:
        """What happened, one by one; recorded only while `Machine.log_steps` is on."""
        return self._seen.steps or []

    @property
    def time_index_touched(self) -> list[str]:
        """The states that the steps are about, in index order."""
        touched = {name for step in self.steps for name in (step.state, step.other)}
        return [name for name in self.machine.state_names if name in touched]

    # Text.

    @property
    def log_entries(self) -> list[str]:
        """What was logged while it ran."""
        return self._seen.log_entries

    @property
    def pre_log_entries(self) -> list[str]:
        """What was logged before it, since the transition before."""
        return self._seen.pre_log_entries

    @property
    def queue_len(self) -> int:
        """How many mutations waited when it ended."""
        return self._seen.queue_len

    def mutation_str(self) -> str:
        """The mutation in short, e.g. ``[add] A B``, in index order."""
        return self.mutation.describe(self.machine.state_names)

    def __str__(self) -> str:
        lines = [f"tx#{self.id}", self.mutation_str()]
        if (source := self.mutation.source) is not None:
            where = f"{source.machine_id}/{source.tx_id}/t{source.time}"
            lines.append(f"source: [{source.tx_id}]({where})")
        lines += [f"- {step}" for step in self.steps]
        return "\n".join(lines)

    def pin(self) -> Time:
        """Keep the time before, as somebody may look at it later.

        A copy of the clock costs as much as the schema is long, so it is only made for a
        transition that was seen by a tracer or taken out of `machine.transition()`.
        """
        seen = self._seen
        if seen.before is None:
            ticks = list(self.machine._ticks)
            if ticks:  # none are left of a disposed machine
                for state, delta in self._applied:
                    ticks[state] -= delta
            seen.before = Time(ticks)
        return seen.before

    def _names(self, states: tuple[int, ...]) -> list[str]:
        names = self.machine.state_names
        return [names[state] for state in states]
