"""Lists of state names: combined, compared, chosen from (spec machine 2.3).

Every function returns a new list; order is kept, and each name appears once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence


def states_union(*lists: Iterable[str]) -> list[str]:
    """The names of all the lists.

    >>> states_union(["A", "B"], ["B", "C"])
    ['A', 'B', 'C']
    """
    return list(dict.fromkeys(name for names in lists for name in names))


def states_without(names: Iterable[str], *others: Collection[str]) -> list[str]:
    """Those that are in none of the other lists, in the order of `names`.

    >>> states_without(["A", "B", "C"], ["C"], ["A"])
    ['B']
    """
    return [name for name in states_union(names) if not any(name in other for other in others)]


def states_shared(names: Iterable[str], other: Collection[str]) -> list[str]:
    """Those that are in both lists, in the order of `names`."""
    return [name for name in states_union(names) if name in other]


def states_equal(names: Iterable[str], other: Iterable[str]) -> bool:
    """Whether both lists have the same names, in any order."""
    return set(names) == set(other)


def states_matching(names: Iterable[str], pattern: str) -> list[str]:
    """Those in which a regular expression is found.

    >>> states_matching(["ErrNetwork", "Ready", "ErrDisk"], "^Err")
    ['ErrNetwork', 'ErrDisk']
    """
    found = re.compile(pattern)
    return [name for name in states_union(names) if found.search(name)]


def states_at(names: Sequence[str], indexes: Iterable[int]) -> list[str]:
    """The names at these indexes; ``unknownN`` for an index N out of range."""
    count = len(names)
    return [names[at] if 0 <= at < count else f"unknown{at}" for at in indexes]


def states_hash(names: Iterable[str]) -> str:
    """Four hex digits that tell lists apart, order included: for people, not against forgery."""
    joined = ",".join(names).encode()
    return hashlib.md5(joined, usedforsecurity=False).hexdigest()[:4]
