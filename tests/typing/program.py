"""A program of a user that is clean under ``mypy --strict``; not run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from amzmq import AmzmqError, Api, Client, Machine, Mux, Payload, Result, State, States, pipes
from amzmq.errors import NotConnected, OutcomeUnknown
from amzmq.machine import Event, Tracer, Transition, parse_args
from amzmq.states import BasicStates, DisposedArgHandler, DisposedHandlers, DisposedStates


class Door(BasicStates, DisposedStates):
    """A door."""

    Closed = State(remove="Open")
    Open = State(remove=Closed, require=BasicStates.Start)
    Alarm = State(auto=True, require=[Open, "Ready"])
    Bell = State(multi=True, tags=["sound"])


class House(States):
    Guest = State()


@dataclass
class Visit:
    by: str
    loud: bool = False


class Handlers:
    def __init__(self) -> None:
        self.visits: list[Visit] = []

    def OpenEnter(self, e: Event) -> bool:
        return "by" in e.args

    def OpenState(self, e: Event) -> None:
        self.visits.append(parse_args(Visit, e))

    async def BellState(self, e: Event) -> None:
        await e.machine.when_not(Door.Bell)

    def ExceptionState(self, e: Event) -> None:
        if isinstance(e.error, OSError):
            e.machine.remove("Exception", event=e)


class Counter(Tracer):
    id = "counter"

    def __init__(self) -> None:
        self.count = 0

    def transition_end(self, tx: Transition) -> None:
        self.count += tx.is_accepted


async def ring(door: Api, times: int = 1) -> Result:
    result = Result.CANCELED
    for _ in range(times):
        result = await door.add(Door.Bell, by="visitor")
    if result.is_queued:
        await door.when_queue(result)
    await door.when(Door.Bell)
    return result


def price_of(payload: Payload) -> float:
    return float(payload.data["usd"])


def goodbye(machine_id: str, ctx: object) -> None:
    print(machine_id, ctx)


async def main() -> None:
    door = Machine(Door, id="door", handlers=Handlers(), tracers=[Counter()])
    door.bind(DisposedHandlers(), id="end")
    door.add(Door.RegisterDisposal, args={DisposedArgHandler: goodbye})
    door.add(Door.Start, args=Visit("owner"))
    house = Machine(House)
    pipe = pipes.bind(door, house, Door.Open, active=House.Guest)
    async with Mux(door, bind="tcp://127.0.0.1:0") as mux, Client(mux.addr, schema=Door) as client:
        pipes.bind_err(client.net_mach, house)
        for machine in (door, client.net_mach):
            await ring(machine, times=2)
        try:
            await client.net_mach.add(Door.Open, args=Visit("visitor", loud=True))
        except (NotConnected, OutcomeUnknown) as error:
            print(error, error.remedy.value)
        except AmzmqError:
            raise
        async with door.state_ctx(Door.Open) as ctx:
            await asyncio.wait_for(_wait(client), timeout=ctx.tick)
        async for payload in client.payloads("price"):
            print(price_of(payload))
    pipe.unbind()


async def _wait(client: Client) -> None:
    await client.mach.when("Ready")


if __name__ == "__main__":
    asyncio.run(main())
