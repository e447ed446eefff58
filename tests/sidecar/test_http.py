"""Programs without ZeroMQ read, change and follow machines, here and elsewhere, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.http_rig import Served, serving
from tests.sidecar.rig import PATIENCE_S, heard


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = tmp_path / "http.sock"
    async with serving(f"unix:{path}", path) as running:
        yield running


@pytest.fixture(params=["local", "remote"])
def id(request: pytest.FixtureRequest, served: Served) -> str:
    """Of a machine of this process, or of a replica."""
    if request.param == "local":
        return "door"
    return next(each.machine.id for each in served.directory if not each.machine.is_local)


async def test_a_machine_is_shown_with_its_schema(served: Served, id: str) -> None:
    told = await served.http.get(f"/machines/{id}")
    assert told["id"] == id
    assert told["active"] == []
    assert told["clock"]["Open"] == 0
    assert told["states"]["Alarm"]["require"] == ["Open"]
    assert told["states"]["Bell"]["multi"] is True


async def test_states_are_added_removed_set_and_toggled(served: Served, id: str) -> None:
    async def change(kind: str, *states: str) -> list[str]:
        answer = await served.http.post(f"/machines/{id}/{kind}", {"states": list(states)})
        assert answer.status == HTTPStatus.OK, answer
        assert answer.json["result"] == "executed"
        return sorted(answer.json["active"])

    assert await change("add", "Open", "Alarm") == ["Alarm", "Open"]
    assert await change("remove", "Alarm") == ["Open"]
    assert await change("toggle", "Alarm") == ["Alarm", "Open"]
    assert await change("toggle", "Alarm") == ["Open"]
    assert await change("set", "Closed") == ["Closed"]


async def test_arguments_reach_the_handlers(served: Served, id: str) -> None:
    args = {"user": 42, "who": ["ä", None, {"x": 1.5}]}
    body = {"states": ["Bell"], "args": args}
    assert (await served.http.post(f"/machines/{id}/add", body)).status == HTTPStatus.OK
    assert served.handlers.args == args


async def _problem(served: Served, *question: Any) -> tuple[int, dict[str, Any]]:
    answer = await served.http.ask(*question)
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json
    assert told["status"] == answer.status
    assert told["type"].startswith("urn:amzmq:problem:")
    assert told["title"]
    return answer.status, told


@pytest.mark.parametrize("states", [["Locked"], ["Alarm"]], ids=["handler", "relation"])
async def test_what_is_refused_is_a_conflict(served: Served, id: str, states: list[str]) -> None:
    status, told = await _problem(served, "POST", f"/machines/{id}/add", {"states": states})
    assert status == HTTPStatus.CONFLICT
    assert told["type"].endswith(":canceled")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"states": ["Opne"]}, "Opne"),
        ({"states": []}, "name at least one"),
        ({"states": "Open"}, "a list of names"),
        ({"states": [1]}, "a list of names"),
        ({"state": ["Open"]}, "there are: states args"),
        ({"states": ["Open"], "args": [1]}, "args"),
        ({"states": ["Open"], "args": {"_x": 1}}, "_x"),
        ({"states": ["Open"], "args": {"x": 2**64}}, "64 bits"),
        (["Open"], "it is an object"),
        (None, "application/json"),
    ],
)
async def test_a_body_of_the_wrong_form_is_told_how_it_should_be(
    served: Served, body: object, detail: str
) -> None:
    status, told = await _problem(served, "POST", "/machines/door/add", body)
    assert status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    assert detail in told["detail"]
    assert str(served.door) == "()"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/machines/nobody", HTTPStatus.NOT_FOUND),
        ("/machines/nobody/when?states=Open", HTTPStatus.NOT_FOUND),
        ("/nowhere", HTTPStatus.NOT_FOUND),
        ("/machines/", HTTPStatus.NOT_FOUND),
        ("/machines/door/when", HTTPStatus.UNPROCESSABLE_ENTITY),
        ("/machines/door/when?states=Opne", HTTPStatus.UNPROCESSABLE_ENTITY),
        ("/machines/door/when?states=Open&timeout=-1", HTTPStatus.UNPROCESSABLE_ENTITY),
        ("/machines/door/when?states=Open&timeout=nan", HTTPStatus.UNPROCESSABLE_ENTITY),
        ("/machines/door/when?state=Open", HTTPStatus.UNPROCESSABLE_ENTITY),
        ("/machines/door/add", HTTPStatus.METHOD_NOT_ALLOWED),
    ],
)
async def test_a_question_without_an_answer_is_a_problem(
    served: Served, path: str, status: HTTPStatus
) -> None:
    assert (await _problem(served, "GET", path))[0] == status


async def test_a_long_poll_ends_when_it_is_so(served: Served, id: str) -> None:
    question = f"/machines/{id}/when?states=Open,Bell&not=Closed&timeout={PATIENCE_S}"
    asking = asyncio.create_task(served.http.get(question))
    await served.http.post(f"/machines/{id}/add", {"states": ["Open"]})
    assert not asking.done()
    await served.http.post(f"/machines/{id}/add", {"states": ["Bell"]})
    told = await asking
    assert told["met"] is True
    assert sorted(told["active"]) == ["Bell", "Open"]


async def test_a_long_poll_ends_when_its_time_is_up(served: Served, id: str) -> None:
    for timeout in ("0", "0.02"):
        told = await served.http.get(f"/machines/{id}/when?states=Open&timeout={timeout}")
        assert told["met"] is False


async def test_a_long_poll_whose_client_went_away_leaves_nothing(served: Served) -> None:
    _, writer = await served.http.send("GET", "/machines/door/when?states=Open&timeout=3600")
    await served.http.get("/healthz")
    writer.close()
    # Else the server could not stop in time, and a task would be left behind.


async def test_events_begin_with_a_snapshot_and_tell_each_change(served: Served, id: str) -> None:
    await served.http.post(f"/machines/{id}/add", {"states": ["Open"]})
    async with served.http.events(id) as events:
        first = await anext(events)
        assert first.kind == "snapshot"
        assert first.data["active"] == ["Open"]
        await served.http.post(f"/machines/{id}/add", {"states": ["Closed"]})
        change = await heard(events, lambda event: True)
        assert change.kind == "change"
        assert change.data["activated"] == ["Closed"]
        assert change.data["deactivated"] == ["Open"]
        assert change.data["ticks"] == {"Open": 2, "Closed": 1}


async def test_events_go_on_where_a_client_stopped_reading(served: Served, id: str) -> None:
    async with served.http.events(id) as events:
        last = await anext(events)
    for _ in range(3):
        await served.http.post(f"/machines/{id}/add", {"states": ["Bell"]})
    async with served.http.events(id, last.id) as events:
        seen = [await anext(events) for _ in range(3)]
    assert [event.kind for event in seen] == ["change"] * 3
    assert [event.data["ticks"]["Bell"] for event in seen] == [1, 3, 5]
    async with served.http.events(id, seen[1].id) as events:
        assert (await anext(events)) == seen[2]


@pytest.mark.parametrize("last_id", ["00000000-1", "nonsense", "-", "99"])
async def test_an_unknown_id_gets_a_snapshot(served: Served, last_id: str) -> None:
    async with served.http.events("door", last_id) as events:
        assert (await anext(events)).kind == "snapshot"


async def test_who_was_away_for_too_long_gets_a_snapshot(served: Served) -> None:
    async with served.http.events("door") as events:
        last = await anext(events)
    for _ in range(5000):
        served.door.add("Bell")
    async with served.http.events("door", last.id) as events:
        told = await anext(events)
    assert told.kind == "snapshot"
    assert told.data["clock"]["Bell"] == 9999


async def test_payloads_are_sent_to_followers_of_both_ways(served: Served) -> None:
    from amzmq.rpc import Client

    addr = (await served.http.get("/machines/door"))["addr"]
    client = Client(addr)
    payloads = client.payloads("price")
    async with asyncio.timeout(PATIENCE_S), client, served.http.events("door") as events:
        await anext(events)
        sent = await served.http.post("/machines/door/payloads/price", {"usd": 1.5})
        assert sent.status == HTTPStatus.NO_CONTENT
        assert (await anext(payloads)).data == {"usd": 1.5}
        told = await heard(events, lambda event: event.kind == "payload")
        assert told.data == {"name": "price", "data": {"usd": 1.5}}


async def test_a_replica_sends_no_payloads(served: Served) -> None:
    id = next(each.machine.id for each in served.directory if not each.machine.is_local)
    status, told = await _problem(served, "POST", f"/machines/{id}/payloads/x", 1)
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "where its source is" in told["detail"]


async def test_a_source_that_is_gone_is_a_problem_to_try_again(served: Served) -> None:
    id = next(each.machine.id for each in served.directory if not each.machine.is_local)
    await served.far_mux.stop()
    status, told = await _problem(served, "POST", f"/machines/{id}/add", {"states": ["Open"]})
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert told["retry"] is True
    assert (await served.http.get(f"/machines/{id}"))["active"] == []


async def test_the_document_names_every_path(served: Served) -> None:
    document = await served.http.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    assert len(document["paths"]) == 13


# Over TCP.


@pytest.fixture
async def tcp(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving("127.0.0.1:0", tmp_path) as running:
        yield running


async def _curl(*args: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--max-time", str(PATIENCE_S), *args),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_curl_is_all_one_needs(tcp: Served) -> None:
    base = f"{tcp.url}/machines/door"
    status, out = await _curl("--json", '{"states": ["Open"]}', f"{base}/add")
    assert (status, json.loads(out)["active"]) == (0, ["Open"])
    status, out = await _curl(f"{base}/when?states=Open")
    assert (status, json.loads(out)["met"]) == (0, True)
    status, out = await _curl("--fail-with-body", "--json", '{"states": ["Locked"]}', f"{base}/add")
    assert (status, json.loads(out)["status"]) == (22, 409)


async def test_a_page_of_another_site_cannot_use_it(tcp: Served) -> None:
    base = f"{tcp.url}/machines/door"
    # What a form can send without being asked for permission is no JSON.
    _, out = await _curl("--data", '{"states": ["Open"]}', f"{base}/add")
    assert json.loads(out)["status"] == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    # And a name that was made to point here is not ours.
    _, out = await _curl("--header", "Host: evil.example:80", base)
    assert json.loads(out)["status"] == HTTPStatus.MISDIRECTED_REQUEST
    assert str(tcp.door) == "()"


async def test_a_body_that_is_too_large_is_not_read_to_its_end(tcp: Served) -> None:
    body = json.dumps({"states": ["Open"], "args": {"x": "y" * 1_100_000}})
    file = Path(tcp.http.path) / "body"
    file.write_text(body, encoding="utf-8")
    _, out = await _curl("--json", f"@{file}", f"{tcp.url}/machines/door/add")
    assert json.loads(out)["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


async def test_what_a_replica_missed_is_a_metric(served: Served) -> None:
    id = next(each.machine.id for each in served.directory if not each.machine.is_local)
    page = (await served.http.ask("GET", "/metrics")).body.decode()
    for counter in ("gaps", "resyncs", "payloads_dropped"):
        assert f'amzmq_client_{counter}_total{{machine="{id}"}} 0.0' in page
