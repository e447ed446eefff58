"""Resolved transitions, remembered (design decision 2).

A `Node` stands for one order of active states. From it, a `Plan` leads to the next node by
one mutation; a `Step` sums up a mutation together with the auto transition it causes, for
machines on which nobody could tell the two apart. All three are immutable facts about a
schema, so machines of one schema share them.

The cache is bounded: when it holds `limit` plans it forgets all of them and starts anew. A
machine that stands on a forgotten node goes on; its next plan leads it back into the cache.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.resolver import MutationType, Resolution, resolve
from amzmq.machine.result import Result

PLAN_LIMIT = 4096
"""Plans kept a schema; a plan of a ten-state schema takes about 1 KiB."""

Deltas: TypeAlias = tuple[tuple[int, int], ...]


class Node:
    """One order of active states, and what is known about going on from it."""

    __slots__ = (
        "auto",
        "calls",
        "names",
        "order",
        "ordered_names",
        "plans",
        "states",
        "steps",
    )

    def __init__(self, schema: CompiledSchema, order: tuple[int, ...]) -> None:
        self.order = order
        self.states = frozenset(order)
        self.ordered_names = tuple(schema.names[state] for state in order)
        self.names = frozenset(self.ordered_names)
        self.auto = _auto_candidates(schema, self.states)
        self.plans: dict[tuple[MutationType, tuple[int, ...], bool], Plan] = {}
        # Both by mutation type, then by the names of the call.
        self.calls: tuple[dict[tuple[str, ...], Plan], ...] = ({}, {}, {})
        self.steps: tuple[dict[tuple[str, ...], Step], ...] = ({}, {}, {})


class Outcome:
    """What commit does once negotiation has ended.

    Attributes:
        target, enters, exits: As resolved.
        deltas: (index, ticks) of each state that ticks at commit.
        mask: Bit mask of the states in `deltas`.
        activated, deactivated: States that waits and contexts hear of.
        next: The node after commit.
    """

    __slots__ = (
        "activated", "deactivated", "deltas", "enters", "exits", "mask", "next", "target"
    )  # fmt: skip

    def __init__(
        self,
        schema: CompiledSchema,
        node: Node,
        called: tuple[int, ...],
        resolution: Resolution,
        is_auto: bool,
    ) -> None:
        self.target = resolution.target
        self.enters = resolution.enters
        self.exits = resolution.exits
        self.deltas = commit_deltas(schema, node.states, resolution.target, called)
        self.mask = sum(1 << state for state, _ in self.deltas)
        self.next = schema.plans.node(resolution.target)
        if is_auto:
            self.activated = tuple(s for s in self.target if s not in node.states)
            self.deactivated = tuple(s for s in node.order if s not in self.next.states)
        else:
            self.activated, self.deactivated = self.enters, self.exits


class Plan:
    """One mutation from one node, resolved.

    Attributes:
        accepted: Whether the relations accept it.
        accepted_as_check: The same for a dry run, where any called multi state is enough
            (spec machine 3.7).
        provisional: The resolution that negotiation runs on; for an auto mutation the outcome
            is resolved again without the candidates that were rejected (4.6.3).
        outcome: Of a run in which no handler objects.
        result: Of such a run.
        health: A call of Heartbeat or Healthcheck alone: no auto transition follows.
    """

    __slots__ = (
        "accepted", "accepted_as_check", "called", "health", "is_auto", "kind", "node", "outcome",
        "provisional", "result",
    )  # fmt: skip

    def __init__(
        self,
        schema: CompiledSchema,
        node: Node,
        kind: MutationType,
        called: tuple[int, ...],
        is_auto: bool,
    ) -> None:
        self.node = node
        self.kind = kind
        self.called = called
        self.is_auto = is_auto
        first = resolve(schema, node.order, kind, called)
        if is_auto:
            self.accepted = len(first.rejected) < len(called)
        else:
            self.accepted = not first.rejected
        self.accepted_as_check = self.accepted or any(state in schema.multi for state in called)
        self.provisional = first
        self.outcome = (
            auto_outcome(schema, node, called, first.target)
            if is_auto
            else Outcome(schema, node, called, first, False)
        )
        self.health = kind is MutationType.ADD and len(called) == 1 and called[0] in schema.health
        stays = kind is MutationType.REMOVE and not self.outcome.next.states.isdisjoint(called)
        self.result = Result.EXECUTED if self.accepted and not stays else Result.CANCELED


class Step(NamedTuple):
    """A mutation and the auto transition after it, as one change of the clock."""

    result: Result
    node: Node
    deltas: Deltas
    mask: int


class PlanCache:
    """Plans of one schema; safe to share between threads."""

    def __init__(self, schema: CompiledSchema, limit: int = PLAN_LIMIT) -> None:
        self.limit = limit
        self.resolved = 0
        self.forgotten = 0
        self._schema = schema
        self._size = 0
        self._nodes: dict[tuple[int, ...], Node] = {}

    def __len__(self) -> int:
        return self._size

    def node(self, order: tuple[int, ...]) -> Node:
        """The node of an order of active states."""
        node = self._nodes.get(order)
        if node is None:
            node = self._nodes.setdefault(order, Node(self._schema, order))
        return node

    def plan(
        self, node: Node, kind: MutationType, called: tuple[int, ...], is_auto: bool = False
    ) -> Plan:
        """The plan of a mutation from `node`, resolved at most once while it is remembered."""
        key = (kind, called, is_auto)
        plan = node.plans.get(key)
        if plan is None:
            self._make_room()
            plan = Plan(self._schema, node, kind, called, is_auto)
            node.plans[key] = plan
            self._size += 1
            self.resolved += 1
        return plan

    def call(
        self, node: Node, kind: MutationType, names: tuple[str, ...], called: tuple[int, ...]
    ) -> Plan:
        """The plan of a mutation, kept under the names of the call too."""
        plan = self.plan(node, kind, called)
        self._make_room()
        node.calls[kind][names] = plan
        self._size += 1
        return plan

    def step(
        self, node: Node, kind: MutationType, names: tuple[str, ...], called: tuple[int, ...]
    ) -> Step:
        """A mutation with the auto transition it causes, kept under the names of the call."""
        step = self._combined(node, kind, called)
        self._make_room()
        node.steps[kind][names] = step
        self._size += 1
        return step

    def _combined(self, node: Node, kind: MutationType, called: tuple[int, ...]) -> Step:
        plan = self.plan(node, kind, called)
        if not plan.accepted:
            return Step(plan.result, node, (), 0)
        first = plan.outcome
        if first.deltas and first.next.auto and not plan.health:
            auto = self.plan(first.next, MutationType.ADD, first.next.auto, True)
            if auto.accepted:
                then = auto.outcome
                ticks: dict[int, int] = dict(first.deltas)
                for state, delta in then.deltas:
                    ticks[state] = ticks.get(state, 0) + delta
                mask = first.mask | then.mask
                return Step(plan.result, then.next, tuple(ticks.items()), mask)
        return Step(plan.result, first.next, first.deltas, first.mask)

    def _make_room(self) -> None:
        if self._size < self.limit:
            return
        for node in list(self._nodes.values()):
            node.plans.clear()
            for calls, steps in zip(node.calls, node.steps, strict=True):
                calls.clear()
                steps.clear()
        self._nodes.clear()
        self._size = 0
        self.forgotten += 1


def auto_outcome(
    schema: CompiledSchema, node: Node, called: tuple[int, ...], provisional: Collection[int]
) -> Outcome:
    """Resolve an auto mutation again without the states that did not make it (spec 4.6.3)."""
    clean = tuple(state for state in called if state in provisional)
    resolution = resolve(schema, node.order, MutationType.ADD, clean)
    return Outcome(schema, node, clean, resolution, True)


def commit_deltas(
    schema: CompiledSchema,
    before: frozenset[int],
    target: tuple[int, ...],
    called: tuple[int, ...],
) -> Deltas:
    """Which states tick by how much when `target` becomes active (spec machine 2.1)."""
    deltas = []
    for state in target:
        if state not in before:
            deltas.append((state, 1))
        elif state in schema.multi and state in called:
            deltas.append((state, 2))
    inside = set(target)
    deltas.extend((state, 1) for state in before if state not in inside)
    return tuple(deltas)


def _auto_candidates(schema: CompiledSchema, active: frozenset[int]) -> tuple[int, ...]:
    """Auto states that are inactive and not removed by an active one (spec machine 4.9)."""
    if not schema.auto:
        return ()
    removed = {other for state in active for other in schema.remove[state]}
    return tuple(s for s in schema.auto if s not in active and s not in removed)
