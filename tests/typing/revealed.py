"""What a type checker says of the public names; the expected answer is at the end of each line.

Not run: `test_typing.py` gives it to mypy.
"""

from __future__ import annotations

import asyncio
from typing import reveal_type

from amzmq import (
    AmzmqError,
    Api,
    Client,
    Consumer,
    Machine,
    Mux,
    NetworkMachine,
    Payload,
    Result,
    State,
    States,
    pipes,
)
from amzmq.errors import NotConnected, StateUnknown
from amzmq.machine import Event, StateCtx, Wait, parse_args
from amzmq.states import BasicStates, DisposedHandlers


class Door(States):
    Closed = State(remove="Open")
    Open = State(remove=Closed)


# Schemas.
reveal_type(State(auto=True))  # State
reveal_type(Door.Open)  # StateName
reveal_type(Door.names())  # tuple[str, ...]
reveal_type(Door.schema())  # dict[str, State]
reveal_type(BasicStates.Ready)  # StateName
reveal_type(DisposedHandlers())  # DisposedHandlers

# A machine.
door = Machine(Door, id="door")
reveal_type(door.add(Door.Open, by="me"))  # Result
reveal_type(door.remove("Open"))  # Result
reveal_type(door.set("Open"))  # Result
reveal_type(door.toggle("Open"))  # Result
reveal_type(door.add_err(ValueError("x")))  # Result
reveal_type(door.add_err_state("ErrX", ValueError("x")))  # Result
reveal_type(door.can_add("Open"))  # Result
reveal_type(door.is_("Open"))  # bool
reveal_type(door.any_("Open", ("Closed", "Open")))  # bool
reveal_type(door.switch("Open", "Closed"))  # str
reveal_type(door.active_states())  # list[str]
reveal_type(door.state_names)  # tuple[str, ...]
reveal_type(door.schema)  # dict[str, State]
reveal_type(door.tick("Open"))  # int
reveal_type(door.time())  # Time
reveal_type(door.clock())  # dict[str, int]
reveal_type(door.queue_tick)  # int
reveal_type(door.err())  # BaseException | None
reveal_type(door.export())  # dict[str, Any]
reveal_type(door.bind({}))  # str
reveal_type(door.id)  # str
reveal_type(str(door))  # str

# Results.
result = Result.EXECUTED
reveal_type(result)  # Result
reveal_type(result.is_queued)  # bool
reveal_type(Result.queued(7))  # Result

# Waits.
reveal_type(door.when("Open"))  # Wait
reveal_type(door.when_time({"Open": 3}))  # Wait
reveal_type(door.when_args("Open", by="me"))  # Wait
reveal_type(door.when("Open").wait(timeout=2))  # bool
reveal_type(Wait().done())  # bool
reveal_type(door.state_ctx("Open"))  # StateCtx
reveal_type(door.state_ctx("Open").expired)  # bool
reveal_type(StateCtx("door", "Open", 1).tick)  # int


def handler(e: Event) -> None:
    reveal_type(e.args)  # Mapping[str, object]
    reveal_type(e.machine)  # Machine
    reveal_type(e.error)  # BaseException | None
    reveal_type(parse_args(Payload, e))  # Payload


async def both(machine: Api, net: NetworkMachine) -> None:
    reveal_type(machine.add("Open"))  # Awaitable[Result]
    reveal_type(await machine.add("Open"))  # Result
    reveal_type(await door.add("Open"))  # Result
    reveal_type(machine.when("Open"))  # Wait
    reveal_type(net.add("Open"))  # Future[Result]
    reveal_type(await net.add("Open"))  # Result
    reveal_type(net.add_ns("Open"))  # Result
    reveal_type(net.is_("Open"))  # bool
    reveal_type(net.remote_id)  # str
    await asyncio.gather(both(door, net), both(net, net))


# Serving and following.
async def rpc() -> None:
    async with Mux(door, bind="tcp://127.0.0.1:0") as mux:
        reveal_type(mux)  # Mux
        reveal_type(mux.addr)  # str
        reveal_type(mux.mach)  # Machine
        reveal_type(mux.send_payload("price", {"usd": 1.5}))  # Receipt
    async with Client("tcp://127.0.0.1:7701", name="reader", consumer=Consumer()) as client:
        reveal_type(client)  # Client
        reveal_type(client.net_mach)  # NetworkMachine
        reveal_type(client.mach)  # Machine
        reveal_type(await client.sync())  # Time
        reveal_type(client.metrics())  # dict[str, int]
        async for payload in client.payloads("price"):
            reveal_type(payload)  # Payload
            reveal_type(payload.name)  # str
            reveal_type(payload.data)  # Any


# Pipes.
reveal_type(pipes.bind(door, door, "Open"))  # Pipe
reveal_type(pipes.sync(door, door, ["Open"]))  # int

# Errors.
try:
    door.add("Nowhere")
except StateUnknown as unknown:
    reveal_type(unknown.names)  # tuple[str, ...]
    reveal_type(unknown.remedy)  # Remedy
except NotConnected as gone:
    reveal_type(gone)  # NotConnected
except AmzmqError as error:
    reveal_type(error.remedy)  # Remedy
