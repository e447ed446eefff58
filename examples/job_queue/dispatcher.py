"""Gives the lines of its input to workers: `python dispatcher.py ADDR... < jobs.txt`."""

import asyncio
import secrets
import sys
from collections.abc import Iterable

from worker import Job

from amzmq import AmzmqError, Client, Result
from amzmq.errors import NotConnected

PATIENCE = 30.0
"""Seconds that a job may take; then another worker gets it."""


class Jobs:
    """What is to be done. A job that was taken is either done or given back."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._open = [Job(id=secrets.token_hex(8), text=text) for text in texts]
        self.left = len(self._open)
        self._changed = asyncio.Condition()

    async def take(self) -> Job | None:
        """The next job; None when all are done."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._open or not self.left)
            return self._open.pop(0) if self._open else None

    async def give_back(self, job: Job) -> None:
        async with self._changed:
            self._open.append(job)
            self._changed.notify()

    async def done(self) -> None:
        async with self._changed:
            self.left -= 1
            self._changed.notify_all()


async def employ(addr: str, jobs: Jobs) -> None:
    """Keep one worker busy until there is nothing left to do, or it is lost."""
    try:
        async with (
            Client(addr, conn_timeout=1.0, conn_retries=2) as client,
            asyncio.TaskGroup() as group,
        ):
            watching = group.create_task(watch(client))
            while (job := await jobs.take()) is not None:
                try:
                    result = await ask(client, job)
                except BaseException:
                    await jobs.give_back(job)
                    raise
                print(job.text, result, flush=True)
                await jobs.done()
            watching.cancel()
    except* (AmzmqError, TimeoutError) as failures:
        print(f"{addr} is out: {failures.exceptions[0]}", file=sys.stderr, flush=True)


async def watch(client: Client) -> None:
    """Fail when the worker is lost, and its group with it."""
    await client.mach.when_not("Ready")
    raise NotConnected(f"lost {client.addr}")


async def ask(client: Client, job: Job) -> str:
    """Have one job done; returns its result."""
    worker, results = client.net_mach, client.payloads("done")
    async with asyncio.timeout(PATIENCE):
        await worker.when("Idle")
        while await worker.add("Busy", args=job) is Result.CANCELED:
            await worker.when("Idle")  # another dispatcher was faster
        async for payload in results:
            if payload.data["id"] == job.id:
                return str(payload.data["result"])
    raise NotConnected(f"{client.addr} was stopped")


async def main(*addrs: str) -> int:
    jobs = Jobs(line.strip() for line in sys.stdin)
    await asyncio.gather(*(employ(addr, jobs) for addr in addrs))
    return 1 if jobs.left else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
