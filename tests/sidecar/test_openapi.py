"""The document is true: hundreds of requests made from it get the answers it promises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from amzmq.sidecar.http.openapi import document
from tests.sidecar.http_rig import serving

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The interface on a thread of its own, as schemathesis asks from this one."""
    folder = tmp_path_factory.mktemp("openapi")
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    stop: asyncio.Future[None] = loop.create_future()
    address: asyncio.Future[str] = loop.create_future()

    async def serve() -> None:
        async with serving("127.0.0.1:0", folder) as running:
            address.set_result(running.url)
            await stop

    async def started() -> str:
        return await address

    serving_task = asyncio.run_coroutine_threadsafe(serve(), loop)
    try:
        yield asyncio.run_coroutine_threadsafe(started(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(stop.set_result, None)
        serving_task.result(PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


@pytest.mark.timeout(180)
def test_every_operation_answers_as_the_document_says(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    seen = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        seen.add(operation.label)
        if operation.path.endswith("/events"):
            continue  # without an end; the tests of events read it
        cases = operation.as_strategy() | operation.as_strategy().map(_known)

        @given(case=cases)
        @settings(
            max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        def answers(case: schemathesis.Case[Any]) -> None:
            if case.path.endswith("/when"):
                _be_quick(case)
            # Which states there are is no matter of the document.
            case.call_and_validate(timeout=PATIENCE_S, excluded_checks=[positive_data_acceptance])

        answers()
    paths = document()["paths"]
    assert isinstance(paths, dict)
    told = {f"{method.upper()} {path}" for path in paths for method in paths[path]}
    # Where the document itself comes from is not asked a second time.
    assert seen == told - {"GET /openapi.json"}


def _known(case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
    """The same for a machine that is there, and a state that it has."""
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = "door"
    if isinstance(case.body, dict) and "states" in case.body:
        case.body["states"] = ["Bell"]
    return case


def _be_quick(case: schemathesis.Case[Any]) -> None:
    """Wait no longer than it takes to ask, unless the time has a wrong form."""
    query = dict(case.query or {})
    if isinstance(query.get("timeout", 0), (int, float)):
        case.query = {**query, "timeout": 0}
