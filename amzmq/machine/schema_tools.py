"""Tools that make schemas out of schemas, and pictures of them (spec machine 1.2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from amzmq.machine.schema import Schema, State, States, definitions_of
from amzmq.machine.view import MachineView


def merge(*schemas: Schema | type[States]) -> dict[str, State]:
    """One schema of all; a later definition replaces an earlier one whole, in its place."""
    merged: dict[str, State] = {}
    for schema in schemas:
        merged |= definitions_of(schema)
    return merged


def extend(schema: Schema | type[States], overlay: Schema | type[States]) -> dict[str, State]:
    """A schema with the relations of another appended, state by state, and its new states."""
    extended = definitions_of(schema)
    for name, state in definitions_of(overlay).items():
        extended[name] = extended[name].extend(state) if name in extended else state
    return extended


def prefix(
    schema: Schema | type[States],
    prefix: str,
    *,
    remove_dups: bool = False,
    allow: Collection[str] = (),
    skip: Collection[str] = (),
) -> dict[str, State]:
    """Rename states, and all references to them.

    Args:
        schema: Where the states come from.
        prefix: Goes before each name.
        remove_dups: Leave a state alone that begins with the prefix already. Quirk of the
            reference: its references are left alone then too, and only then.
        allow: Rename only these states, if any are given.
        skip: States that keep their names.
    """
    definitions = definitions_of(schema)
    chosen = {name for name in definitions if (not allow or name in allow) and name not in skip}

    def renamed(name: str, owner: str) -> str:
        if name not in chosen or (remove_dups and owner.startswith(prefix)):
            return name
        return prefix + name

    return {
        renamed(name, name): state.replace(
            **{kind: [renamed(other, name) for other in names] for kind, names in state.relations()}
        )
        for name, state in definitions.items()
    }


def states_by_tag(schema: Schema | type[States], tag: str) -> list[str]:
    """The states with this tag, or with one that goes on after a colon: ``tag:more``."""
    longer = tag + ":"
    return [
        name
        for name, state in definitions_of(schema).items()
        if any(own == tag or own.startswith(longer) for own in state.tags)
    ]


def filter_by_tag(schema: Schema | type[States], *tags: str) -> dict[str, State]:
    """The states that carry one of these tags exactly."""
    return {
        name: state
        for name, state in definitions_of(schema).items()
        if any(state.has_tag(tag) for tag in tags)
    }


def adjacent_states(schema: Schema | type[States], state: str) -> list[str]:
    """The states that `state` relates to: by add, after, require, remove; each once."""
    found = definitions_of(schema)[state]
    return list(dict.fromkeys((*found.add, *found.after, *found.require, *found.remove)))


_ARROWS = (("require", "-->"), ("add", "==>"), ("remove", "--x"), ("after", "-.->"))


def schema_mermaid(source: MachineView | Schema | type[States]) -> str:
    """A schema as a Mermaid flowchart; of a machine, with its active states marked.

    ``-->`` requires, ``==>`` adds, ``--x`` removes, ``-.->`` comes after. Auto states are
    round, multi states are doubly framed.
    """
    active: Iterable[str] = ()
    if isinstance(source, MachineView):
        definitions, active = source.schema, source.active_states()
    else:
        definitions = definitions_of(source)
    ids = {name: f"s{at}" for at, name in enumerate(definitions)}
    lines = ["flowchart LR"]
    for name, state in definitions.items():
        opening, closing = ("[[", "]]") if state.multi else ("([", "])") if state.auto else "[]"
        lines.append(f'    {ids[name]}{opening}"{name}"{closing}')
    for name, state in definitions.items():
        for kind, arrow in _ARROWS:
            for other in getattr(state, kind):
                if other in ids:
                    lines.append(f"    {ids[name]} {arrow}|{kind}| {ids[other]}")
    if marked := [ids[name] for name in active]:
        lines.append("    classDef active stroke-width:4px")
        lines.append(f"    class {','.join(marked)} active")
    return "\n".join(lines) + "\n"
