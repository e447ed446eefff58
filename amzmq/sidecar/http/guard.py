"""Refuses requests that call this server by a name that is not its own.

A page of another site can have its name point to the loopback, and would then count as ours:
a browser still tells the name that the page was loaded by.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from amzmq.sidecar.http.problems import Problem


class HostGuard:
    """ASGI middleware.

    Args:
        app: What is guarded.
        hosts: The names, without ports; None allows all.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "http" and self._hosts is not None:
            told = next((v for k, v in scope["headers"] if k == b"host"), b"").decode("latin-1")
            name = told.rpartition(":")[0] if told.rpartition(":")[2].isdigit() else told
            if name.strip("[]").lower() not in self._hosts:
                detail = f"Host {told!r} is not a name of this server; ask for 127.0.0.1"
                problem = Problem(HTTPStatus.MISDIRECTED_REQUEST, "host-unknown", detail)
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)
