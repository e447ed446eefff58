from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

from amzmq import Client
from tests.examples.programs import EXAMPLES, PATIENCE_S, Program, amzmq, python, ran, running

WORKER = EXAMPLES / "job_queue" / "worker.py"
DISPATCHER = EXAMPLES / "job_queue" / "dispatcher.py"
JOBS = [f"job-{number}" for number in range(12)]


async def workers(stack: AsyncExitStack, count: int) -> tuple[list[Program], list[str]]:
    programs = [await stack.enter_async_context(running(*python(WORKER))) for _ in range(count)]
    return programs, [await program.addr() for program in programs]


async def jobs_of(addr: str) -> int:
    """How many jobs a worker has had, by the clock of its Busy."""
    async with Client(addr) as client:
        worker = client.net_mach
        async with asyncio.timeout(PATIENCE_S):
            await worker.when("Idle")
        return worker.tick("Busy") // 2


def names(lines: list[str]) -> list[str]:
    return sorted(line.split()[0] for line in lines)


async def test_every_job_is_done_once_by_one_of_the_workers() -> None:
    async with AsyncExitStack() as stack:
        _, addrs = await workers(stack, 3)
        told = await ran(*python(DISPATCHER, *addrs), stdin="\n".join(JOBS))
        assert names(told.splitlines()) == sorted(JOBS)
        assert sum([await jobs_of(addr) for addr in addrs]) == len(JOBS)


async def test_two_dispatchers_share_the_workers() -> None:
    async with AsyncExitStack() as stack:
        _, addrs = await workers(stack, 2)
        both = [
            await stack.enter_async_context(
                running(*python(DISPATCHER, *addrs), stdin="\n".join(JOBS))
            )
            for _ in range(2)
        ]
        for dispatcher in both:
            assert await dispatcher.ended() == 0, dispatcher.err
            assert names(dispatcher.out) == sorted(JOBS)


async def test_the_jobs_of_a_worker_that_dies_go_to_another() -> None:
    async with AsyncExitStack() as stack:
        programs, addrs = await workers(stack, 2)
        dispatcher = await stack.enter_async_context(
            running(*python(DISPATCHER, *addrs), stdin="\n".join(JOBS))
        )
        await dispatcher.says("job-")
        programs[0].send(signal.SIGKILL)
        assert await dispatcher.ended() == 0, dispatcher.err
        assert names(dispatcher.out) == sorted(JOBS)
        assert any(addrs[0] in line for line in dispatcher.err)


async def test_a_draining_worker_takes_no_more_and_ends() -> None:
    async with AsyncExitStack() as stack:
        (worker,), (addr,) = await workers(stack, 1)
        await amzmq("add", addr, "Draining")
        await worker.says("drained")
        assert await worker.ended() == 0


async def test_without_a_worker_the_jobs_are_left_and_the_status_says_so() -> None:
    async with running(*python(DISPATCHER), stdin="job-1") as dispatcher:
        assert await dispatcher.ended() == 1
