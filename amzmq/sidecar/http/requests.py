"""Reading what a request says, strictly: nothing is taken for something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request

from amzmq.errors import StateUnknown
from amzmq.machine.api import Api
from amzmq.sidecar.http.problems import Problem

BODY_LIMIT = 1024 * 1024
"""Bytes of a body; a message of the protocol may have as many."""

TIMEOUT_LIMIT = 3600.0
"""Seconds that a long poll may be asked to last."""

_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is to be changed.

    Attributes:
        states: Names, at least one.
        args: Arguments for the handlers.
    """

    states: tuple[str, ...]
    args: Mapping[str, object]


async def mutation(request: Request, machine: Api) -> Mutation:
    """The body of add, remove, set and toggle.

    Raises:
        Problem: It is not one.
    """
    body = await json_body(request)
    if not isinstance(body, dict):
        _invalid("the body", 'it is an object, {"states": ["Ready"]}')
    if unknown := sorted(body.keys() - {"states", "args"}):
        _invalid(f"member {unknown[0]!r}", "there are: states args")
    states, args = body.get("states"), body.get("args", {})
    if not isinstance(states, list) or not all(isinstance(name, str) for name in states):
        _invalid("states", 'it is a list of names, ["Ready"]')
    if not states:
        _invalid("states", "it is empty; name at least one")
    if not isinstance(args, dict):
        _invalid("args", 'it is an object, {"user": 42}')
    if private := sorted(key for key in args if key.startswith("_")):
        _invalid(f"args.{private[0]}", "names that begin with '_' are not for users")
    known(machine, states)
    return Mutation(tuple(states), args)


def known(machine: Api, states: list[str]) -> None:
    """See that the states exist.

    Raises:
        StateUnknown: One does not.
    """
    unknown = tuple(name for name in states if machine.index(name) < 0)
    if unknown:
        raise StateUnknown(unknown, machine.id, machine.state_names)


async def json_body(request: Request) -> object:
    """The body, which has to be JSON and to say so.

    A page of another site can make a browser send anything but this type without asking us.

    Raises:
        Problem: It is not JSON, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            f"Content-Type {kind!r}; send JSON with Content-Type: application/json",
        )
    parts = bytearray()
    try:
        async for part in request.stream():
            parts += part
            if len(parts) > BODY_LIMIT:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "too-large",
                    f"the body is larger than {BODY_LIMIT} bytes",
                )
    except ClientDisconnect:
        _invalid("the body", "it is cut short")
    try:
        body = json.loads(bytes(parts), parse_constant=_no_number)
        json.dumps(body).encode()
    except (ValueError, RecursionError) as error:
        _invalid("the body", f"not JSON: {error}")
    _check(body, 0)
    return body


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _check(value: object, depth: int) -> None:
    """See that a value can travel: not too deep, no integer beyond 64 bits, real characters."""
    if depth > _DEPTH:
        _invalid("the body", f"nested more than {_DEPTH} deep")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        _invalid("the body", "an integer has more than 64 bits; write it as text")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            _invalid("the body", "half of a surrogate pair is no character")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)


def names(request: Request, key: str) -> list[str]:
    """State names of the query: ``states=A,B`` or several of them."""
    listed = request.query_params.getlist(key)
    return [name for text in listed for name in text.split(",") if name]


def seconds(request: Request, key: str, default: float) -> float:
    """A time of the query.

    Raises:
        Problem: It is no time, or too long.
    """
    text = request.query_params.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= TIMEOUT_LIMIT:
        _invalid(f"{key}={text!r}", f"it is a number of seconds, 0 to {TIMEOUT_LIMIT:g}")
    return value


def only(request: Request, *keys: str) -> None:
    """See that the query has no other keys: a mistyped one would be lost in silence.

    Raises:
        Problem: It has.
    """
    if unknown := sorted(set(request.query_params) - set(keys)):
        _invalid(f"query {unknown[0]!r}", f"there are: {' '.join(keys) or 'none'}")


def _invalid(what: str, remedy: str) -> NoReturn:
    raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{what}: {remedy}")
