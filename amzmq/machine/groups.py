"""Groups of states: names for sets of states, for people who look at a machine (spec 9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from amzmq.errors import InvalidArgs
from amzmq.machine.schema import States


class Groups:
    """Named lists of states, in order."""

    __slots__ = ("names",)

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self.names = names

    @classmethod
    def of(cls, known: Iterable[str], groups: object | None, states: type[States] | None) -> Groups:
        """Groups of a user's object or mapping, followed by those of a `States` class.

        Raises:
            InvalidArgs: A group names a state that the machine does not have.
        """
        names = dict(_lists(groups))
        if states is not None:
            names |= {name: group for name, group in states.groups().items() if name not in names}
        unknown = {state for group in names.values() for state in group} - set(known)
        if unknown:
            raise InvalidArgs(f"groups: {' '.join(sorted(unknown))}: no states of this machine")
        return cls(names)

    def indexes(self, index: Mapping[str, int]) -> dict[str, list[int]]:
        """The groups with the indexes of their states."""
        return {
            name: [index[state] for state in group if state in index]
            for name, group in self.names.items()
        }


def _lists(groups: object | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    if groups is None:
        return
    fields: Mapping[str, object]
    if isinstance(groups, Mapping):
        fields = groups
    elif isinstance(groups, type):
        fields = vars(groups)
    else:
        fields = {**vars(type(groups)), **vars(groups)}
    for name, group in fields.items():
        if isinstance(group, (list, tuple)) and not name.startswith("_"):
            yield name, tuple(str(state) for state in group)
