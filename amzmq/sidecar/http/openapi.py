"""The interface as an OpenAPI document."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from amzmq.sidecar.http.problems import MEDIA_TYPE
from amzmq.sidecar.http.requests import TIMEOUT_LIMIT

Doc: TypeAlias = dict[str, object]

_TICK: Doc = {"type": "integer", "minimum": 0}
_STRING: Doc = {"type": "string"}
_NAMES: Doc = {"type": "array", "items": _STRING}
_BOOLEAN: Doc = {"type": "boolean"}


def _object(required: Doc, optional: Doc | None = None) -> Doc:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


_SNAPSHOT: Doc = {
    "id": _STRING,
    "active": _NAMES,
    "clock": {"type": "object", "additionalProperties": _TICK},
    "queue_tick": _TICK,
    "machine_tick": _TICK,
    "stale": {
        "type": "boolean",
        "description": "The source of this relayed machine is away; it was so then.",
    },
}

_STATE = _object(
    {
        "auto": _BOOLEAN,
        "multi": _BOOLEAN,
        "require": _NAMES,
        "add": _NAMES,
        "remove": _NAMES,
        "after": _NAMES,
    }
)

_RESULT: Doc = {"type": "string", "enum": ["executed", "queued"]}

_SCHEMAS: Doc = {
    "Problem": _object(
        {"type": _STRING, "title": _STRING, "status": {"type": "integer"}, "detail": _STRING},
        {"remedy": _STRING, "retry": _BOOLEAN},
    ),
    "Readiness": _object(
        {
            "ready": _BOOLEAN,
            "stale": {
                **_NAMES,
                "description": "Ids of the relayed machines whose source is away.",
            },
        }
    ),
    "Machines": _object(
        {
            "machines": {
                "type": "array",
                "items": _object(
                    {
                        "id": _STRING,
                        "addr": _STRING,
                        "is_local": _BOOLEAN,
                        "stale": _BOOLEAN,
                        "active": _NAMES,
                    }
                ),
            }
        }
    ),
    "Machine": _object(
        {
            **_SNAPSHOT,
            "addr": _STRING,
            "states": {"type": "object", "additionalProperties": _STATE},
        }
    ),
    "Mutation": {
        **_object(
            {"states": {**_NAMES, "minItems": 1}},
            {
                "args": {
                    "type": "object",
                    "description": "For the handlers. Names that begin with _ are not for users.",
                    "propertyNames": {"pattern": "^([^_]|$)"},
                }
            },
        ),
        "additionalProperties": False,
    },
    "Mutated": _object({"result": _RESULT, **_SNAPSHOT}, {"runs_at": _TICK}),
    "Awaited": _object({"met": _BOOLEAN, **_SNAPSHOT}),
}


def _ref(name: str) -> Doc:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str, description: str) -> Doc:
    return {"description": description, "content": {"application/json": {"schema": _ref(name)}}}


def _problem(description: str) -> Doc:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}


_PROBLEMS: Doc = {
    "404": _problem("No such machine."),
    "409": _problem("Canceled: relations or handlers refuse."),
    "410": _problem("The machine has ended."),
    "413": _problem("The body is too large."),
    "415": _problem("The body does not say that it is JSON."),
    "422": _problem("Something has the wrong form, or there is no such state."),
    "502": _problem("The source was restarted: the change may have happened, or not."),
    "503": _problem("Not at this moment; try again."),
    "504": _problem("The source did not answer in time; try again."),
}


def _problems(*statuses: str) -> Doc:
    return {status: _PROBLEMS[status] for status in statuses}


_PARAMETERS: Doc = {
    "id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "Id of a machine, as /machines lists them.",
        "schema": _STRING,
    }
}

_ID: list[Doc] = [{"$ref": "#/components/parameters/id"}]


def _query(name: str, description: str, schema: Doc) -> Doc:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _get(summary: str, responses: Doc, parameters: list[Doc] | None = None) -> Doc:
    operation: Doc = {"summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    return {"get": operation}


def _post(summary: str, body: Doc, responses: Doc, parameters: list[Doc]) -> Doc:
    content: Doc = {"application/json": {"schema": body}}
    operation: Doc = {
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": content},
        "responses": responses,
    }
    return {"post": operation}


def _mutation(summary: str) -> Doc:
    responses: Doc = {
        "200": _json("Mutated", "It has happened; the machine as it is then."),
        "202": _json("Mutated", "It waits in the queue, and runs at the queue tick runs_at."),
        **_problems("404", "409", "413", "415", "422", "502", "503", "504"),
    }
    return _post(summary, _ref("Mutation"), responses, _ID)


_LISTED: Doc = {"type": "array", "items": _STRING}

_PLAIN: Doc = {"description": "Yes.", "content": {"application/json": {"schema": _object({})}}}


def _text(kind: str, description: str) -> Doc:
    return {"description": description, "content": {kind: {"schema": _STRING}}}


_EVENTS = (
    "Server-sent events: a snapshot, then changes and payloads. With Last-Event-ID it goes on "
    "behind that event, or with a snapshot if that is too long ago."
)

_PATHS: Doc = {
    "/healthz": _get("Whether the daemon is alive.", {"200": _PLAIN, **_problems("422")}),
    "/readyz": _get(
        "Whether all jobs are ready.",
        {"200": _json("Readiness", "They are."), **_problems("422", "503")},
    ),
    "/metrics": _get(
        "Counters, for Prometheus.",
        {"200": _text("text/plain", "Its text format."), **_problems("404", "422")},
    ),
    "/openapi.json": _get("This document.", {"200": _PLAIN, **_problems("422")}),
    "/machines": _get(
        "All machines.", {"200": _json("Machines", "All machines."), **_problems("422")}
    ),
    "/machines/{id}": _get(
        "One machine with its schema.",
        {"200": _json("Machine", "The machine."), **_problems("404", "422")},
        _ID,
    ),
    "/machines/{id}/add": _mutation("Activate states."),
    "/machines/{id}/remove": _mutation("Deactivate states."),
    "/machines/{id}/set": _mutation("Activate exactly these states."),
    "/machines/{id}/toggle": _mutation("Deactivate states if all are active, else activate them."),
    "/machines/{id}/when": _get(
        "Wait until states are active, and others inactive, at once.",
        {
            "200": _json("Awaited", "Whether it was so within the time."),
            **_problems("404", "410", "422"),
        },
        [
            *_ID,
            _query("states", "These are active; separated by commas, or several times.", _LISTED),
            _query("not", "These are inactive.", _LISTED),
            _query(
                "timeout",
                "Seconds to wait.",
                {"type": "number", "minimum": 0, "maximum": TIMEOUT_LIMIT, "default": 30},
            ),
        ],
    ),
    "/machines/{id}/events": _get(
        "Follow a machine.",
        {"200": _text("text/event-stream", _EVENTS), **_problems("404", "422")},
        [
            *_ID,
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "Id of the last event that is known.",
                "schema": _STRING,
            },
        ],
    ),
    "/machines/{id}/payloads/{name}": _post(
        "Send data to every follower, in order with the states. Any JSON is data.",
        {},
        {
            "204": {"description": "It is sent."},
            **_problems("404", "413", "415", "422", "503"),
        },
        [
            *_ID,
            {
                "name": "name",
                "in": "path",
                "required": True,
                "description": "Which kind of payload, for the receiver.",
                "schema": _STRING,
            },
        ],
    ),
}


@cache
def document() -> Doc:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "amzmq sidecar",
            "version": _version(),
            "description": "State machines of a sidecar, for programs without ZeroMQ.",
        },
        "paths": _PATHS,
        "components": {"schemas": _SCHEMAS, "parameters": _PARAMETERS},
    }


def _version() -> str:
    try:
        return version("amzmq")
    except PackageNotFoundError:  # run from a checkout
        return "0"
