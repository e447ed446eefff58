"""Breakpoints on a replica: a log line where a debugger can stop (spec machine 9.7)."""

from __future__ import annotations

import logging

from amzmq.machine import Tracer

_log = logging.getLogger("amzmq.client")


class BreakpointTracer(Tracer):
    """Looks at each update for states that somebody waits to see changing.

    Updates are merged, so the states may have been called by several mutations of the source.

    Args:
        added: States that have to become active.
        removed: States that have to become inactive.
    """

    def __init__(self, added: tuple[str, ...], removed: tuple[str, ...]) -> None:
        self.id = f"breakpoint-{id(self):x}"
        self.added = added
        self.removed = removed

    def transition_end(self, tx: object) -> None:
        """An update was applied."""
        activated = getattr(tx, "activated", ())
        deactivated = getattr(tx, "deactivated", ())
        if set(self.added).issubset(activated) and set(self.removed).issubset(deactivated):
            # The place for a breakpoint of your debugger.
            _log.info("[breakpoint] +%s -%s", " ".join(self.added), " ".join(self.removed))
