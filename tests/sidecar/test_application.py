"""The life of an application, as its machine tells it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from amzmq.machine import Result
from amzmq.sidecar.config import (
    BackoffConfig,
    ExecConfig,
    ReadyConfig,
    Restart,
    StateConfig,
)
from tests.ports import free_ports
from tests.sidecar.rig import PATIENCE_S, application, script

QUICK = BackoffConfig(initial=0.01, maximum=0.02)
SLOW = BackoffConfig(initial=1000.0, maximum=1000.0)
SLEEP = ("sleep", "1000")


def python(code: str, **more: Any) -> ExecConfig:
    return ExecConfig(tuple(script(code)), **more)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


async def test_it_is_starting_then_running_and_ready_then_exited(output: Path) -> None:
    async with application(ExecConfig(("true",)), output) as rig:
        await rig.until("Exited")
        assert rig.job.status == 0
        changes = [entry.data["activated"] for entry in await rig.told() if entry.kind == "change"]
    assert changes[:4] == [["Starting"], ["Running"], ["Ready"], ["Exited"]]


@pytest.mark.parametrize(
    ("command", "status", "state"),
    [
        (("sh", "-c", "exit 0"), 0, "Exited"),
        (("sh", "-c", "exit 7"), 7, "Failed"),
        (("sh", "-c", "kill -KILL $$"), 128 + signal.SIGKILL, "Failed"),
        (("sh", "-c", "kill -SEGV $$"), 128 + signal.SIGSEGV, "Failed"),
        (("/nowhere/program",), 127, "Failed"),
        (("/",), 126, "Failed"),
    ],
)
async def test_how_it_ended_is_told_as_a_shell_does(
    output: Path, command: tuple[str, ...], status: int, state: str
) -> None:
    async with application(ExecConfig(command), output) as rig:
        await rig.until(state)
        assert rig.job.status == status
        endings = [told for told in await rig.payloads("process") if "status" in told]
    assert [told["status"] for told in endings] == [status]


async def test_lines_are_told_and_output_is_passed_on_as_it_is(output: Path) -> None:
    printed = b"one\r\n\n\xff two\nno end"
    code = f"import sys; sys.stdout.buffer.write({printed!r}); print('oops', file=sys.stderr)"
    async with application(python(code), output) as rig:
        await rig.until("Exited")
        told = await rig.payloads("output")
    lines = [line["line"] for line in told if line["stream"] == "stdout"]
    assert lines == ["one", "", "\\xff two", "no end"]
    assert [line["line"] for line in told if line["stream"] == "stderr"] == ["oops"]
    passed = output.read_bytes()
    assert printed in passed.replace(b"oops\n", b"")
    assert len(passed) == len(printed) + len(b"oops\n")


async def test_a_very_long_line_is_told_in_parts_and_nothing_of_it_is_lost(output: Path) -> None:
    code = "print('ä' * 100_000); print('after')"
    async with application(python(code, max_line=1001), output) as rig:
        await rig.until("Exited")
        counters = rig.job.counters
        told = await rig.payloads("output")
    assert "".join(line["line"] for line in told[:-1]) == "ä" * 100_000
    assert [line["whole"] for line in told] == [False] * (len(told) - 2) + [True, True]
    assert told[-1]["line"] == "after"
    assert (counters.lines, counters.cut_lines) == (2, len(told) - 2)


async def test_it_is_ready_when_it_accepts_connections(output: Path) -> None:
    code = (
        "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1])));"
        "s.listen(); [s.accept() for _ in range(1000)]"
    )
    port = free_ports(1)[0]
    config = ExecConfig(
        (sys.executable, "-c", code, str(port)),
        ready=ReadyConfig(tcp=f"127.0.0.1:{port}", interval=0.01),
    )
    async with application(config, output) as rig:
        await rig.until("Ready")
        assert rig.mach.is_("Running")
        assert rig.mach.not_("Starting")


SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists(sys.argv[2]) else 204)
        self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _server(port: int, sick: Path, **ready: Any) -> ExecConfig:
    url = f"http://127.0.0.1:{port}/health?deep=1"
    return ExecConfig(
        (sys.executable, "-c", SERVER, str(port), str(sick)),
        ready=ReadyConfig(http=url, interval=0.01, failures=2, **ready),
        backoff=QUICK,
    )


async def test_it_is_unhealthy_while_its_health_check_fails(output: Path, tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    async with application(_server(free_ports(1)[0], sick), output) as rig:
        await rig.until("Ready")
        sick.touch()
        await rig.until("Unhealthy", "Running")
        assert rig.mach.not_("Ready")
        sick.unlink()
        await rig.until("Ready")
        assert rig.job.counters.unhealthy == 1
        why = [told["why"] for told in await rig.payloads("process") if "why" in told]
    assert why == ["status 500"]


async def test_an_unhealthy_one_is_restarted_if_that_is_wished(
    output: Path, tmp_path: Path
) -> None:
    sick = tmp_path / "sick"
    async with application(_server(free_ports(1)[0], sick, restart=True), output) as rig:
        await rig.until("Ready")
        restarted = rig.mach.when_ticks("Running", 2)
        sick.touch()
        async with asyncio.timeout(PATIENCE_S):
            await restarted
            sick.unlink()
            await rig.mach.when("Ready")
        assert rig.job.counters.starts == 2


async def test_it_is_ready_when_it_prints_a_certain_line(output: Path) -> None:
    code = "import time; print('warm'); print('now serving 42', flush=True); time.sleep(1000)"
    config = python(code, ready=ReadyConfig(line=r"serving \d+$"))
    async with application(config, output) as rig:
        await rig.until("Ready")


async def test_it_has_failed_if_it_is_not_ready_in_time(output: Path) -> None:
    config = ExecConfig(SLEEP, ready=ReadyConfig(line="never", start_timeout=0.05))
    async with application(config, output) as rig:
        await rig.until("Failed")
        why = [told["why"] for told in await rig.payloads("process") if "why" in told]
    assert why == ["not ready within 0.05 s"]


async def test_a_failed_one_is_restarted_until_the_limit(output: Path) -> None:
    backoff = BackoffConfig(initial=0.01, maximum=0.02, limit=3)
    config = ExecConfig(("false",), restart=Restart.ON_FAILURE, backoff=backoff)
    async with application(config, output) as rig:
        await rig.until("Failed")
        assert rig.job.counters.starts == 4
        assert rig.mach.tick("Backoff") == 6
        assert rig.mach.not_("Restarting")


async def test_what_cannot_be_started_waits_as_well_before_the_next_try(output: Path) -> None:
    config = ExecConfig(("/nowhere/program",), restart=Restart.ON_FAILURE, backoff=SLOW)
    async with application(config, output) as rig:
        await rig.until("Backoff", "Restarting")
        assert rig.job.counters.failures == 1


@pytest.mark.parametrize(
    ("restart", "state"), [(Restart.ON_FAILURE, "Exited"), (Restart.ALWAYS, "Backoff")]
)
async def test_success_is_a_reason_to_restart_only_if_always_is(
    output: Path, restart: Restart, state: str
) -> None:
    async with application(ExecConfig(("true",), restart=restart, backoff=SLOW), output) as rig:
        await rig.until(state)
        assert rig.job.counters.starts == 1


async def test_who_follows_it_may_stop_start_and_restart_it(output: Path) -> None:
    config = ExecConfig(SLEEP, restart=Restart.ALWAYS, backoff=SLOW)
    async with application(config, output) as rig, rig.client() as client:
        app = client.net_mach
        async with asyncio.timeout(PATIENCE_S):
            await app.when("Ready")
            assert await app.add("Starting") is Result.CANCELED
            assert await app.add("Stopping") is Result.EXECUTED
            await app.when("Exited")
            assert await app.add("Stopping") is Result.CANCELED
            assert await app.add("Starting") is Result.EXECUTED
            await app.when("Ready")
            assert await app.add("Restarting") is Result.EXECUTED
            await app.when_not("Restarting")
            await app.when("Ready")
        assert rig.job.counters.starts == 3
        assert rig.job.counters.failures == 0


async def test_a_wait_for_the_next_start_can_be_cut_short_and_given_up(output: Path) -> None:
    config = ExecConfig(("false",), restart=Restart.ALWAYS, backoff=SLOW)
    async with application(config, output) as rig:
        await rig.until("Backoff")
        again = rig.mach.when_ticks("Backoff", 2)
        assert rig.mach.add("Starting") is Result.EXECUTED
        async with asyncio.timeout(PATIENCE_S):
            await again
        assert rig.mach.add("Stopping") is Result.EXECUTED
        await rig.until("Exited")
        assert rig.job.counters.starts == 2


async def test_the_last_request_counts_while_it_stops(output: Path) -> None:
    config = python(
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, [15])\n"
        "print('up', flush=True)\nsignal.sigwait([15])\ntime.sleep(0.2)",
        ready=ReadyConfig(line="up"),
    )
    async with application(config, output) as rig:
        await rig.until("Ready")
        rig.mach.add("Restarting")
        await rig.until("Stopping")
        rig.mach.add("Stopping")
        await rig.until("Exited")
        assert rig.job.counters.starts == 1


async def test_facts_cannot_be_told_by_others(output: Path) -> None:
    config = ExecConfig(SLEEP, states={"Busy": StateConfig(), "Idle": StateConfig(multi=True)})
    async with application(config, output) as rig:
        await rig.until("Ready")
        before = str(rig.mach)
        for fact in ("Running", "Ready", "Failed", "Exited", "Unhealthy", "Backoff"):
            rig.mach.add(fact)
            rig.mach.remove(fact)
        assert rig.mach.set("Busy") is Result.CANCELED
        assert str(rig.mach) == before
        assert rig.mach.add("Busy", "Idle") is Result.EXECUTED
        assert rig.mach.toggle("Busy") is Result.EXECUTED
        assert set(rig.mach.active_states()) == {"Ready", "Running", "Idle"}


async def test_a_state_of_its_own_may_follow_the_common_ones(output: Path) -> None:
    states = {"Useful": StateConfig(auto=True, require=("Ready",))}
    async with application(ExecConfig(SLEEP, states=states), output) as rig:
        await rig.until("Useful")
        rig.mach.add("Stopping")
        await rig.until("Exited")
        assert rig.mach.not_("Useful")


async def test_who_ignores_the_signal_is_killed_after_the_grace(output: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(1000)"
    config = python(
        code.replace("print('up')", "print('up', flush=True)"),
        ready=ReadyConfig(line="up"),
        grace=0.1,
    )
    async with application(config, output) as rig:
        await rig.until("Ready")
        rig.mach.add("Stopping")
        await rig.until("Exited")
        assert rig.job.status == 128 + signal.SIGKILL


async def test_it_is_asked_to_end_by_the_signal_it_wants(output: Path) -> None:
    code = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [10])\n"
    code += "print('up', flush=True)\nsignal.sigwait([10])\nexit(5)"
    config = python(code, ready=ReadyConfig(line="up"), stop_signal="SIGUSR1")
    async with application(config, output) as rig:
        await rig.until("Ready")
        rig.mach.add("Stopping")
        await rig.until("Exited")
        assert rig.job.status == 5


async def test_its_children_end_with_it_even_in_a_session_of_their_own(output: Path) -> None:
    code = (
        "import subprocess\n"
        "near = subprocess.Popen(['sleep', '1000'])\n"
        "far = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print(near.pid, far.pid, flush=True)\n"
        "import os; os._exit(0)"
    )
    async with application(python(code, grace=PATIENCE_S), output) as rig:
        await rig.until("Exited")
        assert rig.job.counters.leftovers == 2
        printed = await rig.payloads("output")
    for pid in printed[0]["line"].split():
        assert not _is_alive(int(pid))


async def test_what_it_left_behind_is_killed_if_it_ignores_the_signal(output: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
    code = (
        "import subprocess, sys, os\n"
        f"command = [sys.executable, '-c', {(stubborn + '; time.sleep(1000)')!r}]\n"
        "far = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)\n"
        "far.stdout.readline()\n"
        "print(far.pid, flush=True)\n"
        "os._exit(0)"
    )
    async with application(python(code, grace=0.1), output) as rig:
        await rig.until("Exited")
        (printed,) = await rig.payloads("output")
    assert not _is_alive(int(printed["line"]))


async def test_one_that_was_stopped_is_asked_to_end_like_any_other(
    output: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    told = f"import os, time; open({str(path)!r}, 'w').write(str(os.getpid()))"
    code = f"{told}; print('up', flush=True); time.sleep(1000)"
    config = python(code, ready=ReadyConfig(line="up"), grace=PATIENCE_S)
    async with application(config, output) as rig:
        await rig.until("Ready")
        pid = int(path.read_text())
        os.kill(pid, signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        rig.mach.add("Stopping")
        await rig.until("Exited")
        assert rig.job.status == 128 + signal.SIGTERM


async def test_it_is_told_who_it_is_and_gets_its_own_environment(
    output: Path, tmp_path: Path
) -> None:
    code = (
        "import os; print(os.getcwd(), *[os.environ[k] for k in ('AMZMQ_JOB', 'AMZMQ_ADDR', 'X')])"
    )
    config = python(code, cwd=str(tmp_path), env={"X": "y"})
    async with application(config, output) as rig:
        addr = rig.exposed.addr
        await rig.until("Exited")
        printed = await rig.payloads("output")
    assert printed[0]["line"] == f"{tmp_path} app {addr} y"


async def test_a_folder_that_is_not_there_is_named(output: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    async with application(ExecConfig(("true",), cwd=missing), output) as rig:
        await rig.until("Failed")
        told = await rig.payloads("process")
    assert missing in told[0]["why"]


async def test_without_input_it_reads_nothing(output: Path) -> None:
    async with application(ExecConfig(("cat",)), output) as rig:
        await rig.until("Exited")
        assert rig.job.status == 0


def _is_alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
