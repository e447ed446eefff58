"""Handing the arguments of a mutation on to further ones, here and over there (spec rpc 1.9).

An object of a dataclass goes in as ``args=`` and comes out by `parse_args`; these two are for a
handler that passes on what it was given, with changes.
"""

from __future__ import annotations

import logging

from amzmq.errors import InvalidArgs
from amzmq.machine.args import Args, merged
from amzmq.wire.codec import check_content, encode

_log = logging.getLogger("amzmq.args")


def pass_args(args: Args, **more: object) -> dict[str, object]:
    """Arguments for a further mutation of a machine of this process.

    Args:
        args: A mapping, or an object of a dataclass.
        more: Further ones; they win over those of the same name.

    Raises:
        InvalidArgs: `args` is neither.

    >>> pass_args({"user": "ann", "door": 3}, door=4)
    {'user': 'ann', 'door': 4}
    """
    return dict(merged(args, more))


def pass_rpc(args: Args, **more: object) -> dict[str, object]:
    """Arguments for a mutation of a replica: those that can travel.

    What is of use in this process only (a connection, a task, an open file) is left out, and its
    name is logged for debugging. To be told instead, use `pass_args`: the replica refuses them.

    Args:
        args: A mapping, or an object of a dataclass.
        more: Further ones; they win over those of the same name.

    Raises:
        InvalidArgs: `args` is neither.

    >>> pass_rpc({"user": "ann", "connection": object()})
    {'user': 'ann'}
    """
    given = merged(args, more)
    travelling = {name: value for name, value in given.items() if _travels(value)}
    if len(travelling) < len(given):
        left = sorted(given.keys() - travelling.keys())
        _log.debug("arguments that cannot travel are left out: %s", " ".join(left))
    return travelling


def _travels(value: object) -> bool:
    try:
        encode(value)
        check_content(value)
    except InvalidArgs:
        return False
    return True
