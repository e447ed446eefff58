"""The check in conftest.py is itself checked: each kind of leak fails the test that makes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LEAKY = """
import asyncio
import os
import socket
import threading

import pytest
import zmq
import zmq.asyncio

# Never cleared: what is in here stays reachable, so only the check can see that it is open.
kept = []


def test_leaks_socket():
    context = zmq.Context()
    kept.append((context, context.socket(zmq.PUB)))


def test_leaks_only_a_context():
    kept.append(zmq.Context())


def test_drops_socket():
    context = zmq.Context()
    context.socket(zmq.PUB)
    context.term()


def test_drops_context():
    zmq.Context()


class InCycle:
    def __init__(self, what):
        self.what, self.me = what, self


def test_leaves_socket_to_the_collector():
    context = zmq.Context()
    InCycle((context, context.socket(zmq.PUB)))


def test_leaks_thread():
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def test_leaks_fd():
    kept.append(os.open(os.devnull, os.O_RDONLY))


@pytest.fixture
def descriptor():
    fd = os.open(os.devnull, os.O_RDONLY)
    yield fd


def test_leaks_fd_of_its_fixture(descriptor):
    pass


async def test_leaks_task():
    kept.append(asyncio.create_task(asyncio.sleep(60)))


@pytest.fixture
async def busy():
    kept.append(asyncio.create_task(asyncio.sleep(60)))
    yield


async def test_leaks_task_of_its_fixture(busy):
    pass


async def test_leaks_async_socket():
    context = zmq.asyncio.Context()
    kept.append((context, context.socket(zmq.SUB)))


async def test_leaks_thread_from_a_loop():
    kept.append(asyncio.get_running_loop())
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""

EXPECTED = {
    "test_leaks_socket": "Socket(",
    "test_leaks_only_a_context": "Context(",
    "test_drops_socket": "Socket(",
    "test_drops_context": "Context(",
    "test_leaves_socket_to_the_collector": "Socket(",
    "test_leaks_thread": "thread",
    "test_leaks_fd": "file descriptor",
    "test_leaks_fd_of_its_fixture": "file descriptor",
    "test_leaks_task": "Task pending",
    "test_leaks_task_of_its_fixture": "Task pending",
    "test_leaks_async_socket": "Socket(",
    "test_leaks_thread_from_a_loop": "thread",
}

CLEAN = """
import asyncio
import os
import threading

import pytest
import zmq
import zmq.asyncio


def test_nothing():
    pass


def test_sockets_closed():
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.bind("inproc://here")


def test_thread_that_ends_soon():
    threading.Timer(0.05, lambda: None).start()


def test_fd_in_a_cycle():
    class Owner:
        def __init__(self):
            self.fd, self.me = os.open(os.devnull, os.O_RDONLY), self

        def __del__(self):
            os.close(self.fd)

    Owner()


def test_own_loop():
    asyncio.run(asyncio.sleep(0))


async def test_async_sockets_closed():
    with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
        socket.bind("inproc://here")


async def test_task_cancelled_at_the_end():
    asyncio.create_task(asyncio.sleep(60)).cancel()


async def test_default_executor():
    assert await asyncio.to_thread(lambda: 1) == 1


@pytest.fixture
async def busy():
    task = asyncio.create_task(asyncio.sleep(60))
    yield
    task.cancel()


async def test_fixture_ends_its_task(busy):
    pass


@pytest.fixture(scope="module")
def shared():
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.bind("tcp://127.0.0.1:0")
        yield socket


def test_shared_1(shared):
    pass


def test_shared_2(shared):
    pass
"""


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    conftest = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    # The leaks in here last; waiting a second for each would only take long.
    assert conftest.count("GRACE = 1.0") == 1
    pytester.makeconftest(conftest.replace("GRACE = 1.0", "GRACE = 0.2"))
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        asyncio_mode = "auto"
        asyncio_default_fixture_loop_scope = "function"
        filterwarnings = ["error", "ignore:Unclosed (socket|context) <zmq:ResourceWarning"]
        """
    )
    return pytester


def run(inner: pytest.Pytester, source: str) -> pytest.RunResult:
    inner.makepyfile(source)
    # In a process of its own: what leaks in there must not be counted against this test.
    return inner.runpytest_subprocess("-rEf", "-p", "no:cacheprovider", timeout=50)


def test_each_kind_of_leak_fails_its_test(inner: pytest.Pytester) -> None:
    result = run(inner, LEAKY)

    # "ERROR file.py::name - Failed: left behind: ..."; long lines are cut, the reports are not.
    summary = re.findall(r"^(?:ERROR|FAILED) \S+::(\w+)", result.stdout.str(), re.MULTILINE)
    assert set(summary) == set(EXPECTED)
    reports = re.split(r"^_+ (?:ERROR at teardown of )?(\w+) _+$", result.stdout.str(), flags=re.M)
    for name, text in zip(reports[1::2], reports[2::2], strict=True):
        assert EXPECTED[name] in text


def test_every_kind_is_tried() -> None:
    assert set(re.findall(r"def (test_\w+)", LEAKY)) == set(EXPECTED)


def test_clean_tests_pass(inner: pytest.Pytester) -> None:
    result = run(inner, CLEAN)

    result.assert_outcomes(passed=CLEAN.count("def test_"))


FORKING = """
import os

import pytest


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_child_leaves(how):
    pid = os.fork()
    if pid == 0:
        if how == "raises":
            raise ValueError("in the child")
        return
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


async def test_async_child_leaves():
    pid = os.fork()
    if pid == 0:
        return
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
"""


def test_forked_child_ends_with_its_test(inner: pytest.Pytester) -> None:
    inner.makepyfile(FORKING)
    options = ("-p", "no:cacheprovider", "-o", "faulthandler_timeout=40")
    result = inner.runpytest_subprocess(*options, timeout=50)

    result.assert_outcomes(passed=3)
