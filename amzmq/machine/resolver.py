"""The relation resolver: which states a mutation leads to (spec machine 4.2 to 4.5).

A pure function of the schema, the active states in order, and the mutation. The steps and
their order are the reference's, quirks included, because the vectors are the law: two levels
of `add`, blocking from last to first, `after` honoured only between neighbours.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from amzmq.machine.compiled import CompiledSchema


class MutationType(enum.IntEnum):
    """What a mutation does; the values are those of the wire (spec machine 0)."""

    ADD = 0
    REMOVE = 1
    SET = 2
    EVAL = 3

    def __str__(self) -> str:
        return self.name.lower()


class Resolution(NamedTuple):
    """Where a mutation leads, by relations alone.

    Attributes:
        target: The states that will be active, in their new order.
        enters: States whose entry handlers run.
        exits: States whose exit handlers run.
        rejected: Called states that the relations keep out.
    """

    target: tuple[int, ...]
    enters: tuple[int, ...]
    exits: tuple[int, ...]
    rejected: tuple[int, ...]


class Notes:
    """Why states did not make it, for whoever logs it.

    Attributes:
        unmet: States dropped for an unmet `require`, with what was there to meet it.
        blocked: States kept out or pushed out, with those that remove them.
        pulled: States that came in, each as a pair with the state whose `add` did it.
    """

    __slots__ = ("blocked", "pulled", "unmet")

    def __init__(self) -> None:
        self.unmet: list[tuple[int, frozenset[int]]] = []
        self.blocked: list[tuple[int, tuple[int, ...]]] = []
        self.pulled: list[tuple[int, int]] = []


def resolve(
    schema: CompiledSchema,
    active: tuple[int, ...],
    kind: MutationType,
    called: tuple[int, ...],
    notes: Notes | None = None,
) -> Resolution:
    """Resolve one mutation.

    Args:
        schema: The compiled schema.
        active: Indexes of the active states, in active order.
        kind: add, remove or set.
        called: Indexes of the called states, unique, in order of the call.
        notes: Collects why states were dropped.
    """
    target = _target(schema, active, kind, called, notes)
    inside = set(target)
    before = set(active)
    rejected: tuple[int, ...] = ()
    if kind is not MutationType.REMOVE:
        rejected = tuple(state for state in called if state not in inside)
    recalled = schema.multi.intersection(called)
    enters = tuple(state for state in target if state not in before or state in recalled)
    exits = tuple(sort_states(schema, [state for state in active if state not in inside]))
    return Resolution(target, enters, exits, rejected)


def _target(
    schema: CompiledSchema,
    active: tuple[int, ...],
    kind: MutationType,
    called: tuple[int, ...],
    notes: Notes | None,
) -> tuple[int, ...]:
    if kind is MutationType.ADD:
        wanted = [*called, *active]
    elif kind is MutationType.REMOVE:
        wanted = [state for state in active if state not in called]
    else:
        wanted = list(called)
    before = frozenset(active)
    dropped = frozenset(called) if kind is MutationType.REMOVE else frozenset()

    wanted = _expand_add(schema, _unique(wanted), before, dropped, notes)
    candidates = _filter_require(schema, wanted, notes)
    kept = _kept_backwards(schema, candidates, notes)
    killed = {other for state in kept for other in schema.remove[state]}
    kept = _expand_add(schema, kept, before, dropped, notes)
    kept = [state for state in kept if state not in killed]
    kept.reverse()
    return tuple(sort_states(schema, _filter_require(schema, kept, notes)))


def _unique(states: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(states))


def _expand_add(
    schema: CompiledSchema,
    states: list[int],
    before: Collection[int],
    dropped: Collection[int],
    notes: Notes | None,
) -> list[int]:
    """Append what the states' `add` pulls in; the appended are not expanded themselves."""
    result = list(states)
    for state in states:
        if schema.add[state] and (state not in before or state in schema.multi):
            pulled = [other for other in schema.add[state] if other not in dropped]
            result += pulled
            if notes is not None:
                known = {*before, *states, *(other for _, other in notes.pulled)}
                notes.pulled += [(state, other) for other in pulled if other not in known]
    return _unique(result)


def _filter_require(schema: CompiledSchema, states: list[int], notes: Notes | None) -> list[int]:
    """Drop states with an unmet `require`, round by round until nothing changes."""
    while True:
        inside = set(states)
        kept = [
            state
            for state in states
            if not schema.require[state] or inside.issuperset(schema.require[state])
        ]
        if len(kept) == len(states):
            return kept
        if notes is not None:
            there = frozenset(inside)
            notes.unmet += [(state, there) for state in states if state not in set(kept)]
        states = kept


def _kept_backwards(
    schema: CompiledSchema, candidates: list[int], notes: Notes | None
) -> list[int]:
    """From last to first, drop each state that a not yet blocked candidate removes."""
    blockers: dict[int, list[int]] = {}
    for state in candidates:
        for other in schema.remove[state]:
            blockers.setdefault(other, []).append(state)
    blocked: set[int] = set()
    kept: list[int] = []
    for state in reversed(candidates):
        by = tuple(other for other in blockers.get(state, ()) if other not in blocked)
        if by:
            blocked.add(state)
            if notes is not None:
                notes.blocked.append((state, by))
        else:
            kept.append(state)
    return kept


def sort_states(schema: CompiledSchema, states: Sequence[int]) -> list[int]:
    """Order states for their handlers: by require, then by after (spec machine 4.4)."""
    rank = schema.require_rank
    result = sorted(states, key=rank.__getitem__)
    if schema.has_after and any(schema.after[state] for state in result):
        _stable_sort(result, _after_less(schema))
    return result


def _after_less(schema: CompiledSchema) -> Callable[[int, int], bool]:
    after = schema.after

    def less(x: int, y: int) -> bool:
        return y not in after[x] and x in after[y]

    return less


_BLOCK = 20


def _stable_sort(items: list[int], less: Callable[[int, int], bool]) -> None:
    """Sort in place exactly as the reference does.

    `less` is not a total order, so the algorithm decides the outcome: insertion sort in blocks
    of 20, then SymMerge of neighbouring blocks.
    """
    count = len(items)
    for start in range(0, count, _BLOCK):
        _insertion_sort(items, start, min(start + _BLOCK, count), less)
    size = _BLOCK
    while size < count:
        start = 0
        while start + size < count:
            _sym_merge(items, start, start + size, min(start + 2 * size, count), less)
            start += 2 * size
        size *= 2


def _insertion_sort(
    items: list[int], start: int, end: int, less: Callable[[int, int], bool]
) -> None:
    for i in range(start + 1, end):
        j = i
        while j > start and less(items[j], items[j - 1]):
            items[j], items[j - 1] = items[j - 1], items[j]
            j -= 1


def _sym_merge(items: list[int], a: int, m: int, b: int, less: Callable[[int, int], bool]) -> None:
    """Merge the sorted halves [a, m) and [m, b) (Kim and Kutzner's SymMerge)."""
    if m - a == 1:
        low, high = m, b
        while low < high:
            middle = (low + high) // 2
            if less(items[middle], items[a]):
                low = middle + 1
            else:
                high = middle
        items.insert(low - 1, items.pop(a))
        return
    if b - m == 1:
        low, high = a, m
        while low < high:
            middle = (low + high) // 2
            if not less(items[m], items[middle]):
                low = middle + 1
            else:
                high = middle
        items.insert(low, items.pop(m))
        return
    mid = (a + b) // 2
    n = mid + m
    start, r = (n - b, mid) if m > mid else (a, m)
    p = n - 1
    while start < r:
        c = (start + r) // 2
        if less(items[p - c], items[c]):
            r = c
        else:
            start = c + 1
    end = n - start
    if start < m < end:
        items[start:end] = items[m:end] + items[start:m]
    if a < start < mid:
        _sym_merge(items, a, start, mid, less)
    if mid < end < b:
        _sym_merge(items, mid, end, b, less)
