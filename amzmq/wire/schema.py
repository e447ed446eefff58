"""A schema on the wire, and the hash by which two sides see that theirs are equal."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

from amzmq.errors import FrameInvalid, SchemaError
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.machine.schema import State
from amzmq.wire.codec import Value, encode

_AUTO = 1
_MULTI = 2
_RELATIONS = ("require", "add", "remove", "after")


_hashes: WeakKeyDictionary[CompiledSchema, bytes] = WeakKeyDictionary()


def schema_hash(schema: CompiledSchema) -> bytes:
    """8 bytes that are equal only for equal states, relations and order."""
    known = _hashes.get(schema)
    if known is None:
        known = _hashes[schema] = hashlib.sha256(encode(schema_value(schema))).digest()[:8]
    return known


def schema_value(schema: CompiledSchema) -> list[Value]:
    """The schema as plain values: a row of name, flags, relations and tags for each state."""
    rows: list[Value] = []
    for name in schema.names:
        state = schema.states[name]
        flags = _AUTO * state.auto + _MULTI * state.multi
        relations = [list(getattr(state, kind)) for kind in _RELATIONS]
        rows.append([name, flags, *relations, list(state.tags)])
    return rows


def schema_from_value(value: Value) -> CompiledSchema:
    """The schema that `schema_value` gave.

    Raises:
        FrameInvalid: The value has another form.
    """
    if not isinstance(value, list):
        raise FrameInvalid(f"schema: {type(value).__name__} is no list of states")
    states: dict[str, State] = {}
    for row in value:
        name, state = _state(row)
        states[name] = state
    try:
        return compile_schema(states, tuple(states))
    except SchemaError as error:
        raise FrameInvalid(f"schema: {error}") from None


def _state(row: Value) -> tuple[str, State]:
    if not isinstance(row, list) or len(row) < 7:
        raise FrameInvalid(f"schema: {row!r} is no state")
    name, flags, *lists = row[:7]
    if not isinstance(name, str) or not name or type(flags) is not int:
        raise FrameInvalid(f"schema: {row!r} has no name or no flags")
    for names in lists:
        if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
            raise FrameInvalid(f"schema: state {name} has a relation {names!r}")
    require, add, remove, after, tags = lists
    return name, State(
        auto=bool(flags & _AUTO),
        multi=bool(flags & _MULTI),
        require=require,
        add=add,
        remove=remove,
        after=after,
        tags=tags,
    )
