"""The source: put your own machine in the place of this one."""

from __future__ import annotations

import asyncio
import contextlib

from node import Metrics, Settings, end_signals, probes

from amzmq import Machine, Mux, State, States


class Fleet(States):
    """Something to look at: it beats, and can be put into maintenance."""

    Start = State()
    Ready = State(auto=True, require=Start)
    Maintenance = State(remove=Ready)
    Beat = State(multi=True)


async def main() -> None:
    """Serve and beat until it is told to end."""
    settings = Settings.read()
    fleet = Machine(Fleet, id="fleet")
    fleet.add("Start")
    with end_signals() as end:
        async with Mux(fleet, bind=settings.bind, transport=settings.serving()) as mux:
            print("serving at", mux.addr, flush=True)
            async with probes(settings, lambda: True, Metrics(lambda: [fleet], mux)):
                while not end.is_set():
                    fleet.add("Beat")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(end.wait(), 1.0)


if __name__ == "__main__":
    asyncio.run(main())
