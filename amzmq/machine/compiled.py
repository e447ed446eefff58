"""A schema compiled to indexes and bit masks, shared by all machines that use it.

Rules: everything here is derived from the schema and the order of its states; nothing here
knows of a machine. The plan cache hangs on it, so machines of one schema share their plans.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from amzmq.errors import SchemaError
from amzmq.machine.schema import EXCEPTION, HEALTH_STATES, State, parse_schema

if TYPE_CHECKING:
    from amzmq.machine.plans import PlanCache

UNKNOWN = -1
"""Index of a required name that the schema does not have: never active, so never met."""


class CompiledSchema:
    """Names, indexes, relations by index, masks, and the require order.

    Args:
        schema: The definitions, unsanitised.
        order: All names in index order; the schema's own order, then `Exception`, if None.

    Raises:
        SchemaError: `order` names unknown states or leaves some out (spec machine 1.4).
    """

    def __init__(self, schema: Mapping[str, State], order: Sequence[str] | None = None) -> None:
        self.states, self.errors = parse_schema(schema)
        if EXCEPTION not in self.states:
            self.states[EXCEPTION] = State(multi=True)
        self.names: tuple[str, ...] = _verified(self.states, order)
        self.index: dict[str, int] = {name: at for at, name in enumerate(self.names)}
        ordered = [self.states[name] for name in self.names]
        # A name that an `add` shares with a `remove` outlives sanitising though it is unknown.
        self.add = [
            tuple(at for at in self._indexes(state.add) if at != UNKNOWN) for state in ordered
        ]
        self.require = [self._indexes(state.require) for state in ordered]
        self.remove = [self._indexes(state.remove) for state in ordered]
        self.after = [frozenset(self._indexes(state.after)) for state in ordered]
        self.multi = frozenset(at for at, state in enumerate(ordered) if state.multi)
        self.auto = tuple(at for at, state in enumerate(ordered) if state.auto)
        self.auto_set = frozenset(self.auto)
        self.health = frozenset(self.index[name] for name in HEALTH_STATES if name in self.index)
        self.has_after = any(self.after)
        self.require_rank, self.require_cycle = self._rank_by_require()
        self._plans: PlanCache | None = None

    @property
    def plans(self) -> PlanCache:
        """The bounded cache of resolved transitions (design decision 2)."""
        if self._plans is None:
            from amzmq.machine.plans import PlanCache  # plans are made of compiled schemas

            self._plans = PlanCache(self)
        return self._plans

    def _indexes(self, names: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.index.get(name, UNKNOWN) for name in names)

    def _rank_by_require(self) -> tuple[list[int], str | None]:
        """Position of each state in the require order, -1 where no `require` edge touches it.

        A depth-first post-order over the states that require something, in index order,
        dependencies before dependants (spec machine 4.4). A cycle leaves all ranks at -1; the
        state where it was met is returned.
        """
        count = len(self.names)
        none = [-1] * count
        order: list[int] = []
        done: set[int] = set()
        for root, requires in enumerate(self.require):
            if not requires or root in done:
                continue
            path: list[tuple[int, int]] = [(root, 0)]
            open_ = {root}
            while path:
                at, position = path.pop()
                required = self.require[at]
                while position < len(required) and (
                    required[position] == UNKNOWN or required[position] in done
                ):
                    position += 1
                if position == len(required):
                    open_.discard(at)
                    done.add(at)
                    order.append(at)
                    continue
                child = required[position]
                if child in open_:
                    return none, self.names[child]
                path.append((at, position + 1))
                path.append((child, 0))
                open_.add(child)
        ranks = none
        for rank, at in enumerate(order):
            ranks[at] = rank
        return ranks, None


_shared: WeakValueDictionary[Hashable, CompiledSchema] = WeakValueDictionary()


def compile_schema(
    schema: Mapping[str, State], order: Sequence[str] | None = None
) -> CompiledSchema:
    """The compiled form of a schema; equal schemas in equal order share one."""
    key = (tuple((name, state.key()) for name, state in schema.items()), order and tuple(order))
    compiled = _shared.get(key)
    if compiled is None:
        compiled = _shared[key] = CompiledSchema(schema, order)
    return compiled


def _verified(states: Mapping[str, State], order: Sequence[str] | None) -> tuple[str, ...]:
    if order is None:
        return tuple(states)
    names = tuple(dict.fromkeys(order))
    if unknown := [name for name in names if name not in states]:
        raise SchemaError(f"states={list(order)!r}: {' '.join(unknown)} not defined in the schema")
    if missing := [name for name in states if name not in names]:
        raise SchemaError(
            f"states={list(order)!r} leaves out {' '.join(missing)}; list every state, "
            f"{EXCEPTION} included"
        )
    return names
