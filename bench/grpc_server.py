"""gRPC without generated code: messages are bytes, as ours are when they travel."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

# It reports every stream that ends with its server.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

SERVICE = "bench.Machine"
# Each follower is a program of its own: no sharing of connections between channels.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
Handler = tuple[str, Any]


def method(name: str) -> str:
    """The full name of a method."""
    return f"/{SERVICE}/{name}"


def answering(name: str, answer: Callable[[bytes, Any], Any]) -> Handler:
    """A method that answers once; `answer` is `async def`."""
    return name, grpc.unary_unary_rpc_method_handler(answer)


def streaming(name: str, stream: Callable[[bytes, Any], AsyncIterator[bytes]]) -> Handler:
    """A method that answers many times."""
    return name, grpc.unary_stream_rpc_method_handler(stream)


@asynccontextmanager
async def serving(*handlers: Handler) -> AsyncIterator[str]:
    """A server on a free port; gives its address."""
    server = grpc.aio.server()
    generic = grpc.method_handlers_generic_handler(SERVICE, dict(handlers))
    server.add_generic_rpc_handlers((generic,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def dialed(addr: str) -> AsyncIterator[Any]:
    """A channel to a server."""
    async with grpc.aio.insecure_channel(addr, options=OWN_CONNECTION) as channel:
        yield channel
