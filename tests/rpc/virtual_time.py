"""Tests whose hours pass at once: waits are exact, and none takes as long as that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from bench import virtual

_P = ParamSpec("_P")


def in_virtual_time(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Runs a test on a loop of its own whose clock jumps; for what has no sockets or threads."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        virtual.run(test(*args, **kwargs))

    return run
