"""One run: steps in a world, everything healed at the end, judged by all promises."""

from __future__ import annotations

from collections.abc import Sequence

from bench import virtual
from tests.oracles.history import History
from tests.oracles.promises import breaches
from tests.simulation.steps import Step, plan
from tests.simulation.world import World


def simulate(seed: int, steps: Sequence[Step] | None = None) -> tuple[History, list[str]]:
    """Run the steps of a seed, or others with its randomness.

    Returns:
        What happened, and what was wrong with it.
    """
    steps = plan(seed) if steps is None else steps
    with virtual.determined(seed):
        world = World(seed)
        try:
            virtual.run(_live(world, steps))
        except (TimeoutError, virtual.Stuck) as error:
            return world.history, [f"not healed: {type(error).__name__} {error}"]
    return world.history, [str(breach) for breach in breaches(world.history)]


async def _live(world: World, steps: Sequence[Step]) -> None:
    await world.start()
    try:
        for step in steps:
            await world.step(step)
        await world.heal()
    finally:
        await world.end()
