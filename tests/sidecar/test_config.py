"""A configuration is read strictly: every mistake is one line that says where, what, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from amzmq.rpc import Limits
from amzmq.sidecar.config import (
    KINDS,
    AttachConfig,
    ExecConfig,
    LogLevel,
    ReadyConfig,
    RelayConfig,
    Restart,
)
from amzmq.sidecar.jobs import KINDS_RUN
from amzmq.sidecar.loading import EXEC_BIND, Sources, load
from amzmq.sidecar.strict import ConfigInvalid
from amzmq.wire.journal import JournalLimits

GOOD = """
[daemon]
name = "beside"
bind = "tcp://127.0.0.1:7000"
http = "unix:/run/beside.sock"
log_level = "debug"
log_json = true
drain_timeout = 5

[jobs.web]
kind = "exec"
command = ["python3", "-m", "web", ""]
bind = "tcp://127.0.0.1:7010"
cwd = "/srv"
env = { MODE = "live" }
stdin = "null"
main = true
restart = "on-failure"
stop_signal = "SIGINT"
grace = 3
forward = ["SIGUSR1"]
limits = { clients = 100, requests_per_second = 500, journal = { messages = 64 } }
ready = { http = "http://127.0.0.1:8080/health", interval = 0.5, failures = 2 }
backoff = { initial = 1, maximum = 60, limit = 5 }

[jobs.web.states.Busy]
[jobs.web.states.Idle]
auto = true
require = ["Ready"]
remove = ["Busy"]

[jobs.door]
kind = "attach"
target = "door:make"
bind = "tcp://127.0.0.1:7030"
limits.views = 4

[jobs.edge]
kind = "relay"
upstream = ["tcp://10.0.0.1:7701", "tcp://10.0.0.2:7701"]
bind = "tcp://127.0.0.1:7020"
machines = ["door"]
limits.handshake = 0.5
"""


def _read(folder: Path, text: str, **sources: object) -> list[str]:
    """The mistakes of a configuration, as they are told."""
    path = folder / "sidecar.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load(Sources(path, **sources))  # type: ignore[arg-type]
    except ConfigInvalid as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def test_everything_that_can_be_said_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(GOOD, encoding="utf-8")
    config = load(Sources(path))
    assert config.daemon.name == "beside"
    assert config.daemon.log_level is LogLevel.DEBUG
    assert config.daemon.drain_timeout == 5.0
    web, door, edge = config.jobs.values()
    assert isinstance(web, ExecConfig)
    assert web.command == ("python3", "-m", "web", "")
    assert web.restart is Restart.ON_FAILURE
    assert web.ready == ReadyConfig(http="http://127.0.0.1:8080/health", interval=0.5, failures=2)
    assert web.limits == Limits(
        clients=100, requests_per_second=500.0, journal=JournalLimits(messages=64)
    )
    assert config.daemon.limits == Limits()
    assert list(web.states) == ["Busy", "Idle"]
    assert isinstance(door, AttachConfig)
    assert isinstance(edge, RelayConfig)
    assert edge.machines == ("door",)
    assert (door.limits, edge.limits) == (Limits(views=4), Limits(handshake=0.5))


def _job(line: str) -> str:
    return f'[jobs.a]\nkind = "exec"\ncommand = ["x"]\n{line}\n'


# What is written, and how its line begins; after that comes the remedy.
MISTAKES = [
    ("[deamon]\n" + _job(""), "deamon = {}: unknown key; did you mean 'daemon'?"),
    ("", "jobs: there is nothing to run"),
    ("jobs = 3", "jobs = 3: write each job as a table"),
    ("daemon = 'x'\n" + _job(""), "daemon = 'x': write it as a table"),
    ("[daemon]\nnmae = 'x'\n" + _job(""), "daemon.nmae = 'x': unknown key; did you mean 'name'?"),
    ("[daemon]\nname = 'a b'\n" + _job(""), "daemon.name = 'a b': use letters"),
    ("[daemon]\nname = 'a'\n" + _job(""), "jobs.a: the daemon has this name"),
    ("[daemon]\nbind = '127.0.0.1:1'\n" + _job(""), "daemon.bind = '127.0.0.1:1': write it like"),
    ("[daemon]\nbind = 'tcp://h:70000'\n" + _job(""), "daemon.bind = 'tcp://h:70000': write it"),
    ("[daemon]\nhttp = 8080\n" + _job(""), "daemon.http = 8080: write text in quotes"),
    ("[daemon]\nhttp = 'on'\n" + _job(""), "daemon.http = 'on': write '127.0.0.1:7790'"),
    ("[daemon]\nhttp = '0.0.0.0:80'\n" + _job(""), "daemon.http = '0.0.0.0:80': not on the loop"),
    ("[daemon]\nlog_level = 'loud'\n" + _job(""), "daemon.log_level = 'loud': write one of"),
    ("[daemon]\nlog_json = 1\n" + _job(""), "daemon.log_json = 1: write true or false"),
    ("[daemon]\ndrain_timeout = 0\n" + _job(""), "daemon.drain_timeout = 0.0: give a number above"),
    ("[jobs.'a/b']\nkind = 'exec'\ncommand = ['x']", "jobs.a/b = 'a/b': use letters"),
    ("[jobs]\na = 'x'", "jobs.a = 'x': write it as a table, [jobs.a]"),
    ("[jobs.a]\ncommand = ['x']", "jobs.a.kind: it is required; write one of 'exec'"),
    ("[jobs.a]\nkind = 'run'", "jobs.a.kind = 'run': write one of 'exec' 'attach' 'relay'"),
    ("[jobs.a]\nkind = 'exec'", "jobs.a.command: it is required; add command to [jobs.a]"),
    ("[jobs.a]\nkind = 'exec'\ncommand = 'ls -l'", "jobs.a.command = 'ls -l': write a list"),
    ("[jobs.a]\nkind = 'exec'\ncommand = []", "jobs.a.command = []: it must not be empty"),
    ("[jobs.a]\nkind = 'exec'\ncommand = ['']", "jobs.a.command[0] = '': name the program"),
    ("[jobs.a]\nkind = 'exec'\ncommand = ['x', 3]", "jobs.a.command[1] = 3: write text in quotes"),
    (_job("env = { A = 1 }"), "jobs.a.env.A = 1: write text in quotes"),
    (_job("stdin = 'tty'"), "jobs.a.stdin = 'tty': write one of 'null' 'inherit'"),
    (_job("restart = true"), "jobs.a.restart = true: write one of 'never'"),
    (_job("grace = -1"), "jobs.a.grace = -1.0: give 0 or more"),
    (_job("grace = true"), "jobs.a.grace = true: write a number"),
    (_job("grace = inf"), "jobs.a.grace = inf: give 0 or more"),
    (_job("max_line = 1.5"), "jobs.a.max_line = 1.5: write a whole number"),
    (_job("max_line = 1"), "jobs.a.max_line = 1: give 64 to"),
    (_job("stop_signal = 'TERM'"), "jobs.a.stop_signal = 'TERM': name a signal"),
    (_job("forward = ['SIGKILL']"), "jobs.a.forward[0] = 'SIGKILL': name a signal"),
    (_job("forward = ['SIGUSR1', 'SIGUSR1']"), "jobs.a.forward = 'SIGUSR1': it is there twice"),
    (_job("ready = {}"), "jobs.a.ready: it has no way to look; give one of tcp http line"),
    (_job("ready = { tcp = 'h:1', line = 'x' }"), "jobs.a.ready: tcp and line exclude each other"),
    (_job("ready = { tcp = 'h' }"), "jobs.a.ready.tcp = 'h': write it like '127.0.0.1:8080'"),
    (_job("ready = { http = 'https://h' }"), "jobs.a.ready.http = 'https://h': write it like"),
    (_job("ready = { line = '(' }"), "jobs.a.ready.line = '(': not a regular expression"),
    (_job("ready = { line = 'x', restart = true }"), "jobs.a.ready.restart = true: a line never"),
    (_job("ready = { line = 'x', every = 1 }"), "jobs.a.ready.every = 1: unknown key"),
    (_job("backoff = { factor = 0.5 }"), "jobs.a.backoff.factor = 0.5: give 1 or more"),
    (_job("backoff = { initial = 9, maximum = 3 }"), "jobs.a.backoff.maximum = 3.0: give initial"),
    (_job("[jobs.a.states.'My State']"), "jobs.a.states.My State = 'My State': write a state"),
    (_job("[jobs.a.states.Ready]"), "jobs.a.states.Ready: every application has this state"),
    (_job("[jobs.a.states.B]\nadd = ['C']"), "jobs.a.states.B.add = 'C': not a state it may name"),
    (_job("[jobs.a.states.B]\nremove = ['Ready']"), "jobs.a.states.B.remove = 'Ready': not a"),
    (_job("main = true\n") + _job("main = true").replace(".a", ".b"), "jobs.b.main = true: only"),
    (_job("bind = 'tcp://127.0.0.1:7792'"), "jobs.a.bind = 'tcp://127.0.0.1:7792': daemon.bind"),
    ("[jobs.a]\nkind = 'attach'\ntarget = 'door'", "jobs.a.target = 'door': write it like 'door:"),
    ("[jobs.a]\nkind = 'attach'", "jobs.a.target: it is required"),
    ("[jobs.a]\nkind = 'relay'\nupstream = ['h:1']", "jobs.a.upstream[0] = 'h:1': write it like"),
    (_job("limits = 3"), "jobs.a.limits = 3: write it as a table, [jobs.a.limits]"),
    (_job("limits = { client = 3 }"), "jobs.a.limits.client = 3: unknown key; did you mean 'cl"),
    (_job("limits = { clients = 1.5 }"), "jobs.a.limits.clients = 1.5: write a whole number"),
    (_job("limits = { clients = 0 }"), "jobs.a.limits.clients = 0: a number from 1 expected"),
    (_job("limits = { admins = -1 }"), "jobs.a.limits.admins = -1: a number from 0 expected"),
    (_job("limits = { requests_per_second = inf }"), "jobs.a.limits.requests_per_second = inf: a"),
    (_job("limits = { requests_burst = nan }"), "jobs.a.limits.requests_burst = nan: a number"),
    (_job("limits = { handshake = '3s' }"), "jobs.a.limits.handshake = '3s': write a number"),
    (_job("limits = { handshake = 1e9 }"), "jobs.a.limits.handshake = 1000000000.0: a number from"),
    (_job("limits = { journal = 100 }"), "jobs.a.limits.journal = 100: write it as a table, ["),
    (_job("limits.journal.size = 1"), "jobs.a.limits.journal.size = 1: unknown key; known are: m"),
    (_job("limits.journal.messages = -1"), "jobs.a.limits.journal.messages = -1: a whole number f"),
    (_job("limits.journal.messages = true"), "jobs.a.limits.journal.messages = true: write a wh"),
    (
        _job("limits.clients = 9"),
        "jobs.a.limits: it is served where the daemon is, with the limits",
    ),
    (
        "[jobs.a]\nkind = 'attach'\ntarget = 'a:b'\nlimits.args = 0",
        "jobs.a.limits.args = 0: a number from 1 expected",
    ),
    (
        "[jobs.a]\nkind = 'relay'\nupstream = ['tcp://h:1']\nlimits.watches = 'all'",
        "jobs.a.limits.watches = 'all': write a whole number",
    ),
    ("[daemon.limits]\nviews = 0\n" + _job(""), "daemon.limits.views = 0: a number from 1"),
    ("[jobs.a]\nkind = 'relay'\nupstream = []", "jobs.a.upstream = []: it must not be empty"),
]


@pytest.mark.parametrize(("text", "line"), MISTAKES, ids=[line for _, line in MISTAKES])
def test_a_mistake_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    told = _read(tmp_path, text)
    assert len(told) == 1, told
    assert told[0].startswith(line)
    assert "\n" not in told[0]
    path, _, remedy = told[0].partition(": ")
    assert path
    assert remedy


def test_there_are_as_many_as_were_promised() -> None:
    assert len(MISTAKES) >= 30


def test_all_limits_that_are_wrong_are_told_at_once(tmp_path: Path) -> None:
    told = _read(tmp_path, _job("limits = { clients = 0, views = 0, args = 5 }"))
    assert [line.partition(" = ")[0] for line in told] == [
        "jobs.a.limits.clients",
        "jobs.a.limits.views",
    ]


def test_the_environment_has_no_limits(tmp_path: Path) -> None:
    told = _read(tmp_path, GOOD, environment={"AMZMQ_SIDECAR_LIMITS": "5"})
    assert [line.partition(":")[0] for line in told] == ["AMZMQ_SIDECAR_LIMITS = '5'"]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "[daemon]\nlog_json = 1\nname = ''\n" + _job("grace = -1\nretsart = 'never'")
    assert len(_read(tmp_path, text)) == 4


@pytest.mark.parametrize(
    ("content", "remedy"),
    [(b"[daemon", "not TOML"), (b"a = 1\na = 2", "not TOML"), (b"a = '\xff'", "TOML is UTF-8")],
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, remedy: str) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid, match=remedy) as caught:
        load(Sources(path))
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing.toml"
    with pytest.raises(ConfigInvalid, match=f"--config = '{path}': No such file"):
        load(Sources(path))


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(GOOD, encoding="utf-8")
    environment = {
        "AMZMQ_SIDECAR_NAME": "from-environment",
        "AMZMQ_SIDECAR_LOG_LEVEL": "error",
        "AMZMQ_SIDECAR_LOG_JSON": "false",
        "AMZMQ_SIDECAR_DRAIN_TIMEOUT": "2.5",
    }
    daemon = load(Sources(path, environment, {"name": "from-flag"})).daemon
    assert daemon.name == "from-flag"
    assert daemon.log_level is LogLevel.ERROR
    assert daemon.log_json is False
    assert daemon.drain_timeout == 2.5
    assert daemon.bind == "tcp://127.0.0.1:7000"


def test_a_mistake_is_told_by_the_name_it_was_given_by(tmp_path: Path) -> None:
    told = _read(tmp_path, GOOD, environment={"AMZMQ_SIDECAR_LOG_JSON": "maybe"})
    assert told == ["AMZMQ_SIDECAR_LOG_JSON = 'maybe': write true or false"]
    told = _read(tmp_path, GOOD, daemon_flags={"log_level": "loud"})
    assert told[0].startswith("--log-level = 'loud': write one of")
    told = _read(tmp_path, GOOD, exec_flags={"command": ["x"], "bind": "y"})
    assert told[0].startswith("--exec.bind = 'y': write it like")


def test_a_name_of_digits_in_the_environment_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert load(Sources(path, {"AMZMQ_SIDECAR_NAME": "42"})).daemon.name == "42"


def test_a_command_alone_is_the_main_job(tmp_path: Path) -> None:
    job = load(Sources(exec_flags={"command": ["ls"]})).jobs["app"]
    assert isinstance(job, ExecConfig)
    assert job.main
    assert job.bind == EXEC_BIND
    told = _read(tmp_path, _job("").replace(".a", ".app"), exec_flags={"command": ["x"]})
    assert told == ["jobs.app: --exec makes a job of this name; rename it"]


def test_there_is_a_job_for_every_kind_that_can_be_written() -> None:
    assert {kind.config for kind in KINDS_RUN} == {*KINDS.values()}


def test_beyond_the_loopback_http_is_served_if_that_is_said(tmp_path: Path) -> None:
    text = "[daemon]\nhttp = '0.0.0.0:80'\nhttp_open = true\n" + _job("")
    assert _read(tmp_path, text) == []
