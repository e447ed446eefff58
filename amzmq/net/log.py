"""The room's logger, and the one thing that is said from many places."""

from __future__ import annotations

import logging

log = logging.getLogger("amzmq.net")


def callback_failed(kind: str, what: str) -> None:
    """Logs the exception being handled: a callback lost its frame, nothing else is lost.

    Args:
        kind: The socket whose callback it is.
        what: The callback.
    """
    log.exception("%s: %s raised; reading goes on", kind, what)
