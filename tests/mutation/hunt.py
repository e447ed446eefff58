"""Runs the tests on each mistake, in a process forked for it.

The tests are imported and collected once. A fork puts the mistake into the functions that are
there already, and runs those tests that enter the function, until one fails. First of all each
test is run once to see which functions it enters. A mistake outside of functions needs a fresh
import: that takes a whole run of pytest, see `fresh`.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests.mutation import fresh
from tests.mutation.modules import AT_IMPORT, ROOT
from tests.mutation.operators import Mutant, mutated, owner_nodes

SLACK_S = 10.0
"""Seconds that the tests of a mistake may take beyond five times what they take without."""

Key = tuple[str, int]
Report = Callable[["Verdict"], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one mistake.

    Attributes:
        mutant: The mistake.
        killer: The test that saw it, or that it held up; "" if none did.
    """

    mutant: Mutant
    killer: str


@dataclass
class _Known:
    """What the first run showed."""

    seconds: dict[str, float] = field(default_factory=dict)
    entered: dict[str, list[list[object]]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class Hunt:
    """A plugin of pytest that runs the collected tests in its own way.

    Args:
        mutants: The mistakes.
        jobs: How many at once.
        slowest: Seconds above which a test is left out.
        report: Told of each.
        arguments: What pytest was given, for runs of its own.
    """

    def __init__(
        self,
        mutants: list[Mutant],
        jobs: int,
        slowest: float,
        report: Report,
        arguments: list[str],
    ) -> None:
        self._mutants = mutants
        self._jobs = jobs
        self._slowest = slowest
        self._report = report
        self._arguments = arguments
        self._killers: Counter[str] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        files = {mutant.path for mutant in self._mutants}
        functions = _functions(files)
        known = self._first_run(items, files, functions)
        for name in known.failed:
            print(f"left out, as it fails without a mistake: {name}", flush=True)
            del items[name]
        for name in [n for n in items if known.seconds.get(n, 0.0) > self._slowest]:
            print(f"left out, as it is slow: {name}", flush=True)
            del items[name]
        entering: dict[tuple[str, str, int], list[str]] = {}
        for name in items:
            for file, owner, line in known.entered[name]:
                entering.setdefault((str(file), str(owner), int(str(line))), []).append(name)
        self._all(items, known, functions, entering)
        return True

    # Each mistake.

    def _all(
        self,
        items: dict[str, pytest.Item],
        known: _Known,
        functions: dict[tuple[Path, Key], list[FunctionType]],
        entering: dict[tuple[str, str, int], list[str]],
    ) -> None:
        waiting, outside = list(reversed(self._mutants)), list[Mutant]()
        running: dict[int, tuple[Mutant, int, float]] = {}  # by pipe
        while waiting or running:
            while waiting and len(running) < self._jobs:
                mutant = waiting.pop()
                key = (str(mutant.path), mutant.owner, mutant.owner_line)
                tests = entering.get(key, [])
                found = functions.get((mutant.path, key[1:]), [])
                if not mutant.owner or not found or _is_at_import(mutant):
                    outside.append(mutant)
                    continue
                if not tests:
                    self._tell(mutant, "")
                    continue
                tests = sorted(tests, key=lambda n: (-self._killers[n], known.seconds[n]))
                limit = SLACK_S + 5 * sum(known.seconds[n] for n in tests)
                pid, pipe = self._fork(lambda: _patch(mutant, found), [items[n] for n in tests])  # noqa: B023
                running[pipe] = mutant, pid, time.monotonic() + limit
            self._reap(running)
        with ThreadPoolExecutor(self._jobs) as pool:
            for mutant, killer in zip(
                outside, pool.map(lambda m: fresh.killer(m, self._arguments), outside), strict=True
            ):
                self._tell(mutant, killer)

    def _reap(self, running: dict[int, tuple[Mutant, int, float]]) -> None:
        ready, _, _ = select.select(list(running), [], [], 0.5)
        now = time.monotonic()
        for pipe, (mutant, pid, due) in list(running.items()):
            if pipe not in ready and now < due:
                continue
            del running[pipe]
            if pipe in ready:
                killer = _read_all(pipe)
                _, status = os.waitpid(pid, 0)
                if not killer and status:
                    killer = f"it ended with status {status}"
            else:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                killer = "it took too long"
            os.close(pipe)
            self._tell(mutant, killer)

    def _tell(self, mutant: Mutant, killer: str) -> None:
        if "::" in killer:
            self._killers[killer] += 1
        self._report(Verdict(mutant, killer))

    # Forks.

    def _first_run(
        self,
        items: dict[str, pytest.Item],
        files: Iterable[Path],
        functions: dict[tuple[Path, Key], list[FunctionType]],
    ) -> _Known:
        known = _Known()
        pid, pipe = self._fork(lambda: _watch(files, functions), list(items.values()), known)
        told = _read_all(pipe)
        if not told.startswith("{"):
            raise RuntimeError(f"the first run of the tests ended early: {told}")
        known = _Known(**json.loads(told))
        os.close(pipe)
        os.waitpid(pid, 0)
        return known

    def _fork(
        self, prepare: Callable[[], None], items: list[pytest.Item], known: _Known | None = None
    ) -> tuple[int, int]:
        """Runs tests in a process of their own; its id, and the pipe that it answers by."""
        sys.stdout.flush()
        out, into = os.pipe()
        pid = os.fork()
        if pid:
            os.close(into)
            return pid, out
        try:
            os.setpgid(0, 0)
            os.close(out)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            # It would take us for a test's own fork, and end us.
            sys.modules["tests.conftest"].SESSION = os.getpid()  # type: ignore[attr-defined]
            prepare()
            for item in items:
                _run(item, known)
            if known is not None:
                _write_all(into, json.dumps(asdict(known)).encode())
            os._exit(0)
        except _Killed as killed:
            _write_all(into, str(killed).encode())
        except BaseException as error:
            _write_all(into, repr(error).encode())
        os._exit(1)


class _Killed(BaseException):
    """A test has failed; it passes through everything."""


_entered: set[tuple[str, str, int]] = set()


def _run(item: pytest.Item, known: _Known | None) -> None:
    _entered.clear()
    started = time.perf_counter()
    reports = _protocol(item)
    failed = any(report.failed for report in reports)
    if known is None:
        if failed:
            raise _Killed(item.nodeid)
        return
    known.seconds[item.nodeid] = time.perf_counter() - started
    known.entered[item.nodeid] = [list(key) for key in _entered]
    if failed:
        known.failed.append(item.nodeid)


def _protocol(item: pytest.Item) -> list[pytest.TestReport]:
    from _pytest.runner import runtestprotocol

    return runtestprotocol(item, nextitem=None, log=False)


def _is_at_import(mutant: Mutant) -> bool:
    return (str(mutant.path.relative_to(ROOT / "amzmq")), mutant.owner) in AT_IMPORT


def _functions(files: set[Path]) -> dict[tuple[Path, Key], list[FunctionType]]:
    """The functions that are there, by where they are defined."""
    by_file = {str(file): file for file in files}
    found: dict[tuple[Path, Key], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType):
            code = thing.__code__
            file = by_file.get(code.co_filename)
            if file is not None:
                key = file, (code.co_qualname, code.co_firstlineno)
                found.setdefault(key, []).append(thing)
    return found


def _patch(mutant: Mutant, functions: list[FunctionType]) -> None:
    module = compile(mutated(mutant), str(mutant.path), "exec", dont_inherit=True)
    code = _code_of(module, (mutant.owner, mutant.owner_line))
    for function in functions:
        function.__code__ = code


def _code_of(code: CodeType, key: Key) -> CodeType:
    found = _search(code, key)
    assert found is not None, f"no function {key}"
    return found


def _search(code: CodeType, key: Key) -> CodeType | None:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if (inner.co_qualname, inner.co_firstlineno) == key:
                return inner
            if (found := _search(inner, key)) is not None:
                return found
    return None


def _watch(files: Iterable[Path], functions: dict[tuple[Path, Key], list[FunctionType]]) -> None:
    """Make each function tell that it is entered."""
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for name, line, node in owner_nodes(tree):
            mark = ast.parse(f"__entered__(({str(file)!r}, {name!r}, {line}))").body[0]
            for inner in ast.walk(mark):
                ast.copy_location(inner, node.body[0])
            node.body.insert(0, mark)
        module = compile(ast.fix_missing_locations(tree), str(file), "exec", dont_inherit=True)
        for (path, key), found in functions.items():
            code = _search(module, key) if path == file else None
            if code is not None:
                for function in found:
                    function.__globals__["__entered__"] = _entered.add
                    function.__code__ = code


def _read_all(pipe: int) -> str:
    parts = []
    while part := os.read(pipe, 1 << 16):
        parts.append(part)
    return b"".join(parts).decode()


def _write_all(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]
