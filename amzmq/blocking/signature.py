"""A twin takes what its asyncio counterpart takes: one signature, written down once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

_P = ParamSpec("_P")
_Counterpart = TypeVar("_Counterpart")
_Twin = TypeVar("_Twin")


def same_arguments(
    counterpart: Callable[Concatenate[_Counterpart, _P], None],
) -> Callable[[Callable[Concatenate[_Twin, ...], None]], Callable[Concatenate[_Twin, _P], None]]:
    """Give an `__init__` that passes everything on the signature of the one it passes it to."""

    def decorate(
        init: Callable[Concatenate[_Twin, ...], None],
    ) -> Callable[Concatenate[_Twin, _P], None]:
        # Only __wrapped__, for inspect.signature and help(): its name and docstring are its own.
        return functools.wraps(counterpart, assigned=(), updated=())(init)

    return decorate
