"""What a client asked to see of a machine, and the index space that comes of it (design 5).

A view that keeps the schema keeps the machine's own indexes: what it does not track stays 0
there. A view without schema has indexes of its own, of the tracked states alone. All that is
said or asked in a stream uses the stream's indexes; `Scope` is the only place that maps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amzmq.errors import FrameInvalid, SchemaMismatch
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.machine.schema import EXCEPTION, State
from amzmq.wire.codec import Value


@dataclass(frozen=True, slots=True)
class View:
    """What a client asked to see; equal views share a stream.

    Attributes:
        schema: Whether relations and properties of the states are wanted.
        allowed: Only these states, if not None.
        skipped: Not these states.
        shallow: Only whether a state is active (clocks of 0 and 1).
        mutations: An update for every mutation, instead of merged ones; clocks are full then.
        payloads: Whether payloads may be received; no client asks for that, its rights tell.
    """

    schema: bool = True
    allowed: frozenset[str] | None = None
    skipped: frozenset[str] = frozenset()
    shallow: bool = False
    mutations: bool = False
    payloads: bool = True

    def __post_init__(self) -> None:
        if self.shallow and self.mutations:
            object.__setattr__(self, "shallow", False)

    @property
    def is_partial(self) -> bool:
        """Whether some states may be left out."""
        return self.allowed is not None or bool(self.skipped)

    def value(self) -> list[Value] | None:
        """For `Hello.view`; None is everything."""
        if self == EVERYTHING:
            return None
        allowed = None if self.allowed is None else sorted(self.allowed)
        return [self.schema, allowed, sorted(self.skipped), self.shallow, self.mutations]

    @staticmethod
    def from_value(value: list[Value] | None) -> View:
        """The view that `value` gave.

        Raises:
            FrameInvalid: It has another form.
        """
        if value is None:
            return EVERYTHING
        if len(value) < 5:
            raise FrameInvalid(f"view: {value!r} has {len(value)} fields, 5 needed")
        schema, allowed, skipped, shallow, mutations = value[:5]
        flags = (schema, shallow, mutations)
        if not all(type(flag) is bool for flag in flags) or not _are_names(skipped):
            raise FrameInvalid(f"view: {value!r}")
        if allowed is not None and not _are_names(allowed):
            raise FrameInvalid(f"view: allowed={allowed!r}")
        return View(
            bool(schema),
            None if allowed is None else frozenset(allowed),  # type: ignore[call-overload]
            frozenset(skipped),  # type: ignore[call-overload]
            bool(shallow),
            bool(mutations),
        )


EVERYTHING = View()
"""All states, with their schema and full clocks, in merged updates."""


class Scope:
    """A view of one schema: who is tracked, and how indexes map.

    Args:
        view: What is wanted.
        source: The machine's schema.

    Attributes:
        schema: What the client knows: names in the stream's index order.
        tracked: Stream indexes of the tracked states; None for all of them.
        to_source: The machine's index of each stream index.

    Raises:
        SchemaMismatch: The view names states that the machine does not have.
    """

    __slots__ = ("_shallow", "_to_stream", "schema", "to_source", "tracked")

    def __init__(self, view: View, source: CompiledSchema) -> None:
        named = view.skipped | (view.allowed or frozenset())
        if unknown := sorted(named.difference(source.index)):
            raise SchemaMismatch(
                f"the view names {' '.join(unknown)}, which the machine does not have; it has: "
                f"{' '.join(source.names)}"
            )
        wanted = [
            at
            for at, name in enumerate(source.names)
            if name not in view.skipped and (view.allowed is None or name in view.allowed)
        ]
        self._shallow = view.shallow
        self._to_stream: dict[int, int] | None = None
        self.tracked: list[int] | None = None
        if view.schema:
            self.schema = source
            self.to_source: Sequence[int] = range(len(source.names))
            if len(wanted) < len(source.names):
                self.tracked = wanted
                self._to_stream = {at: at for at in wanted}
        else:
            exception = source.index[EXCEPTION]
            known = wanted if exception in wanted else [*wanted, exception]
            self.schema = without_relations([source.names[at] for at in known])
            self.to_source = known
            if known is not wanted:  # errors can be added by every client, seen or not
                self.tracked = list(range(len(wanted)))
            if wanted != list(range(len(source.names))):
                self._to_stream = {at: stream for stream, at in enumerate(wanted)}

    @property
    def is_plain(self) -> bool:
        """Whether the machine's ticks are the stream's, unchanged."""
        return self._to_stream is None and not self._shallow

    def ticks(self, ticks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """(index, tick) pairs of the machine, as the stream has them."""
        to_stream = self._to_stream
        if to_stream is None:
            mapped = list(ticks)
        else:
            mapped = [(to_stream[at], tick) for at, tick in ticks if at in to_stream]
        return [(at, tick & 1) for at, tick in mapped] if self._shallow else mapped

    def called(self, states: Iterable[int]) -> list[int]:
        """Those of a mutation's states that the stream knows, by its indexes."""
        to_stream = self._to_stream
        if to_stream is None:
            return list(states)
        return [to_stream[at] for at in states if at in to_stream]


def without_relations(names: Iterable[str]) -> CompiledSchema:
    """What a client knows of states whose schema it did not ask for."""
    states = {name: State() for name in names}
    return compile_schema(states, tuple(states))


def _are_names(value: Value) -> bool:
    return isinstance(value, list) and all(type(name) is str for name in value)
