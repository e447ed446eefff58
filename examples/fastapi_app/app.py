"""The flags of the fleet in FastAPI: `FLAGS=tcp://... fastapi run app.py`."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

from amzmq import AmzmqError, Client, NetworkMachine, Result
from amzmq.errors import StateUnknown

ADDR = "tcp://127.0.0.1:7711"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the whole program, on the server's own event loop."""
    addr = os.environ.get("FLAGS", ADDR)
    async with Client(addr, name=f"fastapi-{os.getpid()}") as client:
        app.state.flags = client.net_mach
        yield


app = FastAPI(lifespan=lifespan)


def flags_of(request: Request) -> NetworkMachine:
    flags: NetworkMachine = request.app.state.flags
    return flags


Flags = Annotated[NetworkMachine, Depends(flags_of)]


@app.get("/flags")
async def show(flags: Flags) -> dict[str, bool]:
    return {name: flags.is_(name) for name in flags.state_names}  # local reads


@app.put("/flags/{name}")
async def enable(name: str, flags: Flags) -> dict[str, bool]:
    return await answer(flags, await flags.add(name, by="fastapi"))


@app.delete("/flags/{name}")
async def disable(name: str, flags: Flags) -> dict[str, bool]:
    return await answer(flags, await flags.remove(name, by="fastapi"))


async def answer(flags: NetworkMachine, result: Result) -> dict[str, bool]:
    if result is Result.CANCELED:
        raise HTTPException(409, f"the flags refuse that; they are {flags}")
    return await show(flags)  # the change is in the replica: you read what you wrote


@app.get("/flags/events")
async def events(flags: Flags) -> StreamingResponse:
    """Server-sent events: the flags now, and after every change."""

    async def changes() -> AsyncIterator[str]:
        while not flags.is_disposed:
            seen = flags.clock()
            yield f"data: {json.dumps(await show(flags))}\n\n"
            await change(seen)

    async def change(seen: dict[str, int]) -> None:
        await flags.when_query(lambda clock: clock != seen)

    return StreamingResponse(changes(), media_type="text/event-stream")


@app.exception_handler(StateUnknown)
async def unknown(request: Request, error: StateUnknown) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(AmzmqError)
async def away(request: Request, error: AmzmqError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)
