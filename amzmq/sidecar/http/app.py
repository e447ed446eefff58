"""The paths of the local interface, and what each does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from amzmq.cli.arguments import jsonable
from amzmq.cli.waits import first_of
from amzmq.errors import AmzmqError
from amzmq.machine import Machine, Result
from amzmq.machine.api import Api
from amzmq.sidecar.directory import Directory, Exposed
from amzmq.sidecar.http import problems, requests
from amzmq.sidecar.http.events import event_text
from amzmq.sidecar.http.guard import HostGuard
from amzmq.sidecar.http.metrics import Metrics
from amzmq.sidecar.http.openapi import document
from amzmq.sidecar.http.problems import Problem
from amzmq.sidecar.journal import snapshot

DEFAULT_WAIT = 30.0
"""Seconds of a long poll that does not say how long."""

SSE_IDLE = 15.0
"""Seconds between two signs of life on a stream of events."""

MUTATIONS = ("add", "remove", "set", "toggle")


class Interface:
    """Answers requests about the machines of a directory.

    Args:
        directory: The machines.
        daemon: The machine whose Ready is the readiness of the whole; None: always ready.
        metrics: What ``/metrics`` shows; None: nothing.
        hosts: Names that requests may call this server by; None: any.

    Attributes:
        app: The ASGI application.
    """

    def __init__(
        self,
        directory: Directory,
        daemon: Machine | None = None,
        metrics: Metrics | None = None,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self._directory = directory
        self._daemon = daemon
        self._metrics = metrics
        self._closing = asyncio.Event()
        machine = "/machines/{id}"
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._show_metrics),
            Route("/openapi.json", self._openapi),
            Route("/machines", self._machines),
            Route(machine, self._machine),
            Route(f"{machine}/when", self._when),
            Route(f"{machine}/events", self._events),
            Route(f"{machine}/payloads/{{name}}", self._payload, methods=["POST"]),
            *(Route(f"{machine}/{kind}", self._mutate, methods=["POST"]) for kind in MUTATIONS),
        ]
        self.app = Starlette(
            routes=routes,
            middleware=[Middleware(HostGuard, hosts=hosts)],
            exception_handlers={
                Problem: problems.answer_problem,
                AmzmqError: problems.answer_error,
                HTTPException: problems.answer_http,
                Exception: problems.answer_bug,
            },
        )
        self.app.router.redirect_slashes = False

    def close(self) -> None:
        """End what would go on for ever: waits, and streams behind their last event."""
        self._closing.set()
        for each in self._directory:
            each.journal.close()

    # The daemon.

    async def _healthz(self, request: Request) -> Response:
        requests.only(request)
        return JSONResponse({"alive": True})

    async def _readyz(self, request: Request) -> Response:
        requests.only(request)
        if self._daemon is None or self._daemon.is_("Ready"):
            # Still ready: without their source these machines are served as they were last.
            stale = [each.id for each in self._directory if each.is_stale]
            return JSONResponse({"ready": True, "stale": stale})
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", f"it is {self._daemon}")

    async def _show_metrics(self, request: Request) -> Response:
        requests.only(request)
        if self._metrics is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(self._metrics.text(), media_type=self._metrics.MEDIA_TYPE)

    async def _openapi(self, request: Request) -> Response:
        requests.only(request)
        return JSONResponse(document())

    # Machines.

    def _exposed(self, request: Request) -> Exposed:
        id = request.path_params["id"]
        exposed = self._directory.get(id)
        if exposed is None:
            ids = " ".join(sorted(each.id for each in self._directory))
            detail = f"no machine {id!r}; there are: {ids or 'none'}"
            raise Problem(HTTPStatus.NOT_FOUND, "machine-unknown", detail)
        return exposed

    async def _machines(self, request: Request) -> Response:
        requests.only(request)
        listed = [
            {
                "id": each.id,
                "addr": each.addr,
                "is_local": each.machine.is_local,
                "stale": each.is_stale,
                "active": each.machine.active_states(),
            }
            for each in self._directory
        ]
        return JSONResponse({"machines": listed})

    async def _machine(self, request: Request) -> Response:
        requests.only(request)
        exposed = self._exposed(request)
        machine = exposed.machine
        states = {
            name: {
                "auto": state.auto,
                "multi": state.multi,
                "require": list(state.require),
                "add": list(state.add),
                "remove": list(state.remove),
                "after": list(state.after),
            }
            for name, state in machine.schema.items()
        }
        return JSONResponse(_about(exposed, addr=exposed.addr, states=states))

    async def _mutate(self, request: Request) -> Response:
        requests.only(request)
        exposed = self._exposed(request)
        machine = exposed.machine
        asked = await requests.mutation(request, machine)
        kind = request.url.path.rpartition("/")[2]
        change = getattr(machine, kind)
        result: Result = await change(*asked.states, args=asked.args)
        if result is Result.CANCELED:
            raise Problem(
                HTTPStatus.CONFLICT,
                "canceled",
                f"{exposed.id} refuses to {kind} {' '.join(asked.states)}: {machine}",
            )
        body = _about(exposed, result=str(result))
        if result.is_queued:
            return JSONResponse({**body, "runs_at": int(result)}, HTTPStatus.ACCEPTED)
        return JSONResponse(body)

    async def _when(self, request: Request) -> Response:
        requests.only(request, "states", "not", "timeout")
        exposed = self._exposed(request)
        machine = exposed.machine
        active, inactive = requests.names(request, "states"), requests.names(request, "not")
        timeout = requests.seconds(request, "timeout", DEFAULT_WAIT)
        if not active and not inactive:
            detail = "give states=A,B, or not=C, or both"
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail)
        requests.known(machine, [*active, *inactive])
        waiting = _until(machine, active, inactive)
        await first_of(waiting, self._closing.wait(), _gone(request), timeout=timeout)
        if machine.is_disposed:
            raise Problem(HTTPStatus.GONE, "disposed", f"machine {exposed.id} has ended")
        return JSONResponse(_about(exposed, met=_is_met(machine, active, inactive)))

    async def _events(self, request: Request) -> Response:
        requests.only(request)
        exposed = self._exposed(request)
        last_id = request.headers.get("last-event-id", "")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _stream(exposed, last_id), headers=headers, media_type="text/event-stream"
        )

    async def _payload(self, request: Request) -> Response:
        requests.only(request)
        exposed = self._exposed(request)
        exposed.send_payload(request.path_params["name"], await requests.json_body(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _about(exposed: Exposed, **more: object) -> dict[str, object]:
    """A machine as it is now, and more."""
    return {**snapshot(exposed.machine, exposed.id), "stale": exposed.is_stale, **more}


def _is_met(machine: Api, active: list[str], inactive: list[str]) -> bool:
    return machine.is_(*active) and machine.not_(*inactive)


async def _until(machine: Api, active: list[str], inactive: list[str]) -> None:
    """Wait for both at once: while one is waited for the other may pass."""
    while not machine.is_disposed and not _is_met(machine, active, inactive):
        await machine.when(*active)
        await machine.when_not(*inactive)


async def _gone(request: Request) -> None:
    """Wait until nobody waits for the answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(exposed: Exposed, last_id: str) -> AsyncIterator[str]:
    journal = exposed.journal
    async for entry in journal.read(last_id, SSE_IDLE):
        if entry is None:
            yield ": still here\n\n"
        else:
            yield event_text(journal.id_of(entry), entry.kind, jsonable(dict(entry.data)))
