"""The oracles on the history of a peer, as far as the peer could keep what they ask for.

Left out are the promises that it takes a call, a journal or a heartbeat with a number to break:
Resumable, Bookmarked, Read your writes, Exactly once. A peer numbers its events in no way that a
follower could count by, so its losses are counted here, from what the source has said.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.oracles.history import Gone, History, Ready, Said, Took
from tests.oracles.index import Index
from tests.oracles.promises import JUDGES, Promise

JUDGED = (
    Promise.ORDERED, Promise.UNIQUE, Promise.ATOMIC, Promise.RELIABLE, Promise.NEVER_AHEAD,
)  # fmt: skip

BETWEEN_STREAMS = "before the states that it follows"
"""How the judge of Ordered says that an event overtook a state."""


def broken(history: History, has_one_stream: bool) -> Counter[Promise]:
    """How often each promise was broken.

    Args:
        history: What happened.
        has_one_stream: Whether states and events go the same way, and can keep their order.
    """
    index = Index(history)
    found: Counter[Promise] = Counter()
    for promise in JUDGED:
        for _, text in JUDGES[promise](index):
            found[promise] += has_one_stream or BETWEEN_STREAMS not in text
    return +found


def lost(history: History) -> int:
    """Events that followers were owed and never given.

    A follower is owed what was said after its first snapshot; of a source that died, up to the
    newest event that it got, as what nobody had heard by then is gone with it.
    """
    heads: dict[str, int] = {}
    said: dict[str, tuple[str, int]] = {}
    since: dict[str, dict[str, int]] = {}
    taken: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for one in history:
        if isinstance(one, Said):
            heads[one.stream] = one.number
            said[one.token] = one.stream, one.number
        elif isinstance(one, Ready):
            since.setdefault(one.follower, dict(heads))
        elif isinstance(one, Took) and one.token in said:
            taken[one.follower].add(said[one.token])
        elif isinstance(one, Gone):
            since.pop(one.follower, None)
    last_life = next(reversed(heads), "")
    missing = 0
    for follower, first in since.items():
        got = taken[follower]
        for life, head in heads.items():
            if life != last_life:
                head = max((number for stream, number in got if stream == life), default=0)
            owed = range(first.get(life, 0) + 1, head + 1)
            missing += sum((life, number) not in got for number in owed)
    return missing
