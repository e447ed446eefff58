"""Errors as RFC 9457 has them: what went wrong, for programs by its type, for people in words."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from amzmq.errors import (
    AmzmqError,
    CallTimeout,
    InvalidArgs,
    NotConnected,
    OutcomeUnknown,
    Refused,
    Remedy,
    StateUnknown,
)

MEDIA_TYPE = "application/problem+json"

_STATUS: tuple[tuple[type[AmzmqError], HTTPStatus], ...] = (
    (StateUnknown, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidArgs, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Refused, HTTPStatus.FORBIDDEN),
    (NotConnected, HTTPStatus.SERVICE_UNAVAILABLE),
    (CallTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    (OutcomeUnknown, HTTPStatus.BAD_GATEWAY),
)


class Problem(Exception):
    """What a request is answered with that cannot be done.

    Args:
        status: Of HTTP.
        kind: Names the problem, e.g. ``state-unknown``.
        detail: What happened, and what to do about it.
        more: Further members.
    """

    def __init__(self, status: HTTPStatus, kind: str, detail: str, **more: object) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        self.more = more
        super().__init__(detail)

    def response(self) -> JSONResponse:
        """The answer."""
        body = {
            "type": f"urn:amzmq:problem:{self.kind}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            **self.more,
        }
        return JSONResponse(body, int(self.status), media_type=MEDIA_TYPE)


def of_error(error: AmzmqError) -> Problem:
    """The problem that one of our errors is, with what a program may do about it."""
    known = (status for kind, status in _STATUS if isinstance(error, kind))
    status = next(known, HTTPStatus.INTERNAL_SERVER_ERROR)
    name = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(error).__name__)
    retry = error.remedy is Remedy.RETRY
    return Problem(status, name.lstrip("-"), str(error), remedy=error.remedy.value, retry=retry)


async def answer_problem(request: Request, error: Exception) -> Response:
    """For starlette: a `Problem` as its answer."""
    assert isinstance(error, Problem)
    return error.response()


async def answer_error(request: Request, error: Exception) -> Response:
    """For starlette: one of our errors."""
    assert isinstance(error, AmzmqError)
    return of_error(error).response()


async def answer_http(request: Request, error: Exception) -> Response:
    """For starlette: its own errors, no such path and no such method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = f"{request.method} {request.url.path}: {status.phrase.lower()}; see /openapi.json"
    response = Problem(status, status.name.lower().replace("_", "-"), detail).response()
    response.headers.update(error.headers or {})
    return response


async def answer_bug(request: Request, error: Exception) -> Response:
    """For starlette: anything else; the log tells more."""
    detail = f"{type(error).__name__}; the daemon's log tells more"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail).response()
