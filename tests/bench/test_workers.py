from __future__ import annotations

import os

import pytest

from bench import workers
from bench.report import BenchError
from bench.workers import Worker
from tests.bench.nursery import Nursery

STUBS = "tests.bench.stubs"


@pytest.fixture(params=["started", "forked"], autouse=True)
def _way(request: pytest.FixtureRequest, nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual way, and that of the other tests of the benchmarks: a worker is a worker."""
    if request.param == "forked":
        monkeypatch.setattr(workers, "spawn", nursery.child)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_role_gets_params_and_talks() -> None:
    with Worker(f"{STUBS}:echo", greeting="hello") as worker:
        assert worker.receive() == {"greeting": "hello", "pid": worker.pid}
        worker.send(number=1)
        assert worker.receive() == {"number": 1}
        worker.finish()
    assert not is_running(worker.pid)


def test_async_role_talks() -> None:
    with Worker(f"{STUBS}:echo_async") as worker:
        worker.send(number=1)
        assert worker.receive() == {"number": 1}
        worker.finish()
    assert not is_running(worker.pid)


def test_failing_role_is_an_error_that_says_why() -> None:
    worker = Worker(f"{STUBS}:fails")
    with pytest.raises(BenchError, match="this role is broken"), worker:
        worker.receive()
    assert not is_running(worker.pid)


def test_vanished_process_is_an_error() -> None:
    worker = Worker(f"{STUBS}:vanishes")
    with pytest.raises(BenchError, match="without a word"), worker:
        worker.receive()
    assert not is_running(worker.pid)


def test_bad_exit_is_an_error() -> None:
    with Worker(f"{STUBS}:ends_badly") as worker, pytest.raises(BenchError, match="status 4"):
        worker.finish()


def test_silence_is_an_error_and_the_process_is_ended() -> None:
    with Worker(f"{STUBS}:ignores_everything") as worker:
        worker.receive()
        with pytest.raises(BenchError, match="said nothing"):
            worker.receive(timeout=0.05)
        assert is_running(worker.pid)
    assert not is_running(worker.pid)


def test_role_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "EXIT_S", 0.05)
    with Worker(f"{STUBS}:ignores_everything") as worker:
        worker.receive()
        with pytest.raises(BenchError, match="did not end"):
            worker.finish()
    assert not is_running(worker.pid)
