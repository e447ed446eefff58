"""The source's machine: what walking a directory goes through.

FollowerReady x N ─► Walking ─► Hashing ◄─► Waiting
                        ▲          │ FileDone, one a file
                        │          ▼
                        └────── RoundDone ─► Done
"""

from __future__ import annotations

from amzmq.machine import State, States


class WalkStates(States):
    """A directory, read round after round.

    FollowerReady is added by each follower. Walking is one round, and lists the directory;
    Hashing reads its files, Waiting rests while a follower is too far behind. FileDone and
    RoundDone count; ErrRead and ErrStalled are transient, so their ticks count as well.
    """

    Start = State()
    FollowerReady = State(multi=True, require=Start)
    Walking = State(require=Start, remove=["RoundDone", "Done"])
    Hashing = State(require=Walking, remove="Waiting")
    Waiting = State(require=Walking, remove=Hashing)
    FileDone = State(multi=True, require=Walking)
    RoundDone = State(multi=True, require=Start, remove=Walking)
    Done = State(require=Start, remove=Walking)
    ErrRead = State(multi=True, require="Exception")
    ErrStalled = State(require="Exception")


def times_added(tick: int) -> int:
    """How often a multi state was added: it ticks twice each time, but only once from inactive.

    >>> [times_added(tick) for tick in (0, 1, 2, 3, 5)]
    [0, 1, 1, 2, 3]
    """
    return (tick + 1) // 2


def ticks_of(additions: int) -> int:
    """The ticks of a multi state from its beginning to that many additions in a row.

    >>> [ticks_of(additions) for additions in (1, 2, 3)]
    [1, 3, 5]
    """
    return 2 * additions - 1
