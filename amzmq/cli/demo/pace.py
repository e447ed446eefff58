"""Not outrunning the followers: how far each is, as its heartbeats tell."""

from __future__ import annotations

import asyncio

from amzmq.cli.demo.processes import Followers
from amzmq.rpc.server.mux import Mux

HEARTBEAT = 0.2
"""Seconds between heartbeats. They carry what each follower has applied, so this is also how
old the source's picture of them is."""

LAG_LIMIT = 1_000
"""Messages that the slowest follower may be behind: a tenth of what a socket queues for it, and
about what a crowd on two cores gets through in a heartbeat."""

STALLED_AFTER = 20.0
"""Seconds without catching up after which a follower is no longer waited for."""


class Pace:
    """How far the followers are.

    Args:
        mux: Serves them.
        followers: Their processes.
    """

    def __init__(self, mux: Mux, followers: Followers) -> None:
        self._mux = mux
        self._followers = followers

    def lags(self) -> dict[str, int | None]:
        """Messages that each follower is behind; None for one that is not connected."""
        clients = self._mux.clients
        return {name: clients.get(f"rc-{name}") for name in self._followers.names}

    def outrun(self) -> bool:
        """Whether a follower is too far behind."""
        return not self._all_within(LAG_LIMIT)

    async def caught_up(self) -> None:
        """Wait until no follower is too far behind.

        Raises:
            TimeoutError: One stays so.
        """
        await self._within(LAG_LIMIT, STALLED_AFTER)

    async def level(self, timeout: float) -> None:
        """Wait until all followers have everything that was published.

        Raises:
            TimeoutError: One does not get there.
        """
        await self._within(0, timeout)

    def _all_within(self, limit: int) -> bool:
        lags = self._mux.clients.values()
        # One that lost its connection comes back and resumes; one that exited does not.
        return len(lags) >= self._followers.running and max(lags, default=0) <= limit

    async def _within(self, limit: int, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    # The beats of the followers are spread over an interval, and the Mux tells of
                    # none: look a few times in each. Before the first look everything is flushed.
                    await asyncio.sleep(HEARTBEAT / 4)
                    if self._all_within(limit):
                        return
        except TimeoutError:
            behind = [
                f"{name} not connected" if lag is None else f"{name} by {lag}"
                for name, lag in self.lags().items()
                if lag is None or lag > limit
            ]
            raise TimeoutError(
                f"followers still behind after {timeout:g} s: {', '.join(behind) or 'none'}"
            ) from None
