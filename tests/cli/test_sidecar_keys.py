"""Keys of the daemon: in its file, its environment, its flags; for what it serves and follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amzmq.cli.security import Lock
from amzmq.sidecar.config import RelayConfig
from amzmq.sidecar.loading import Sources, load
from amzmq.sidecar.strict import ConfigInvalid
from tests.cli.background import in_background, serving
from tests.cli.command import TIMEOUT, Done, invoke, one_line, running
from tests.cli.keyring import Keyring
from tests.ports import free_ports

QUICK = ("--connect-timeout", "0.4")
PATIENT = ("--connect-timeout", "20")
WEB = '[jobs.web]\nkind = "exec"\ncommand = ["sleep", "60"]\n'
OWN = WEB + 'bind = "tcp://127.0.0.1:7701"\n'
EDGE = '[jobs.edge]\nkind = "relay"\nupstream = ["tcp://127.0.0.1:7701"]\n'


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyring:
    monkeypatch.chdir(tmp_path)
    return Keyring.made(Path("keys"))


def told(text: str, *args: str, **variables: str) -> Done:
    """What --check says of a file."""
    Path("s.toml").write_text(text, encoding="utf-8")
    return invoke("sidecar", "--config", "s.toml", "--check", *args, **variables)


def test_a_daemon_its_jobs_and_its_relays_are_locked_by_what_the_file_says(keys: Keyring) -> None:
    below, (port, *_) = Keyring.made(Path("below")), free_ports(6)
    addr = f"tcp://127.0.0.1:{port}"
    lock = Lock(keys / "door.key", keys / "clients")
    with in_background(lambda: serving("door", transport=lock.transport())) as upstream:
        Path("s.toml").write_text(
            f"""
[daemon]
bind = "{addr}"
http = "off"
bind_key = "{below / "door.key"}"
clients = "{below / "clients"}"

[jobs.web]
kind = "exec"
command = ["sleep", "60"]
bind = "tcp://127.0.0.1:{port + 2}"
clients = "any"

[jobs.edge]
kind = "relay"
upstream = ["{upstream.addr}"]
server_key = "{keys / "door.pub"}"
key = "{keys / "clients/ann.key"}"
bind = "tcp://127.0.0.1:{port + 4}"
""",
            encoding="utf-8",
        )
        with running("sidecar", "--config", "s.toml", cwd=Path.cwd()) as daemon:
            ready = invoke("when", addr, "Ready", "--timeout", "20", *below.ann, *PATIENT)
            assert (ready.returncode, ready.stderr) == (0, "")
            web, edge = (f"tcp://127.0.0.1:{port + n}" for n in (2, 4))
            assert invoke("inspect", web, *below.eve).returncode == 0
            assert invoke("add", edge, "Open", "--machine", "door", *below.ann).returncode == 0
            assert invoke("when", upstream.addr, "Open", *keys.ann).returncode == 0
            for locked, given in ((addr, below.eve), (addr, ()), (web, ()), (edge, keys.ann)):
                assert invoke("ls", locked, *given, *QUICK).returncode == 2
            daemon.terminate()
            assert daemon.wait(TIMEOUT) == 0


@pytest.mark.parametrize("way", ["flags", "environment"])
def test_flags_and_variables_lock_the_daemon_and_the_command_it_runs(
    keys: Keyring, way: str
) -> None:
    port, *_ = free_ports(4)
    addr, app = (f"tcp://127.0.0.1:{n}" for n in (port, port + 2))
    given = {
        "bind": addr,
        "http": "off",
        "bind_key": keys / "door.key",
        "clients": keys / "clients",
    }
    flags = [part for key, value in given.items() for part in (f"--{key.replace('_', '-')}", value)]
    variables = {f"AMZMQ_SIDECAR_{key.upper()}": value for key, value in given.items()}
    chosen, named = (flags, {}) if way == "flags" else ([], variables)
    run = ("--exec", "--exec-bind", app, "--", "sleep", "60")
    with running("sidecar", *chosen, *run, **named) as daemon:
        ready = invoke("when", app, "Ready", "--timeout", "20", *keys.ann, *PATIENT)
        assert (ready.returncode, ready.stderr) == (0, "")
        assert invoke("inspect", addr, *keys.ann).returncode == 0
        for locked in (addr, app):
            assert invoke("inspect", locked, *QUICK).returncode == 2
        daemon.terminate()
        daemon.wait(TIMEOUT)


# What --check says.


def test_a_check_tells_how_each_address_is_locked(keys: Keyring) -> None:
    text = f"""
[daemon]
bind = "tcp://0.0.0.0:7791"
bind_key = "{keys / "door.key"}"
clients = "{keys / "clients"}"
server_key = "{keys / "door.pub"}"
{WEB}
[jobs.open]
kind = "attach"
target = "a:b"
bind = "tcp://0.0.0.0:7711"
insecure = true
{EDGE}clients = "any"
"""
    done = told(text)
    assert (done.returncode, done.stderr) == (0, "")
    daemon, web, opened, edge = done.stdout.splitlines()
    locked = "locked by keys/door.key for 1 key of keys/clients, who may do everything"
    assert daemon.endswith(f"; {locked}")
    assert web.endswith("; as sidecar")
    assert opened.endswith("; INSECURE, open to whoever reaches it")
    assert "locked by keys/door.key for whoever has its public key" in edge
    assert edge.endswith(
        "upstream: expects the key keys/door.pub, connects under a new key each time"
    )
    assert json.loads(told(text, "--json").stdout)["secured"]["sidecar"] == locked


def test_a_check_tells_that_there_are_no_keys() -> None:
    done = invoke("sidecar", "--exec", "--check", "--", "ls")
    assert [line.rpartition("; ")[2] for line in done.stdout.splitlines()] == [
        "open to this host"
    ] * 2


def test_a_check_shows_the_limits_that_are_not_the_default(keys: Keyring) -> None:
    text = """
[daemon]
limits.clients = 7

[jobs.web]
kind = "exec"
command = ["ls"]
bind = "tcp://127.0.0.1:7001"
limits = { views = 2, clients = 10000, journal = { messages = 64 } }

[jobs.plain]
kind = "attach"
target = "a:b"
"""
    done = told(text)
    assert (done.returncode, done.stderr) == (0, "")
    daemon, web, plain = done.stdout.splitlines()
    assert ", limits={'clients': 7}; " in daemon
    journal = "'journal': {'messages': 64, 'size_bytes': 16777216}"
    assert f"limits={{'views': 2, {journal}}}" in web
    assert "limits" not in plain
    told_all = json.loads(told(text, "--json").stdout)
    assert told_all["daemon"]["limits"]["clients"] == 7
    assert told_all["jobs"]["web"]["limits"]["views"] == 2
    assert told_all["jobs"]["web"]["limits"]["journal"]["messages"] == 64
    assert told_all["jobs"]["plain"]["limits"]["handshake"] == 3.0


# What stands for what.


def loaded(text: str, **environment: str) -> dict[str, Lock]:
    Path("s.toml").write_text(text, encoding="utf-8")
    config = load(Sources(Path("s.toml"), environment))
    return {"daemon": config.daemon.lock} | {name: job.lock for name, job in config.jobs.items()}


def test_what_a_job_leaves_out_is_taken_from_the_daemon(keys: Keyring) -> None:
    key, clients = keys / "door.key", keys / "clients"
    daemon = f"[daemon]\nbind_key = '{key}'\nclients = '{clients}'\n"
    assert loaded(daemon + OWN)["web"] == Lock(key, clients)
    assert loaded(daemon + OWN + "clients = 'any'")["web"] == Lock(key, "any")
    assert loaded(daemon + OWN + "insecure = true")["web"] == Lock(insecure=True)
    assert loaded(daemon + WEB)["web"] == Lock()
    opened = loaded("[daemon]\ninsecure = true\n" + OWN + f"bind_key='{key}'\nclients='any'")
    assert opened == {"daemon": Lock(insecure=True), "web": Lock(key, "any")}


def test_a_relay_follows_with_the_daemons_keys_unless_it_has_its_own(keys: Keyring) -> None:
    Path("s.toml").write_text(
        f"[daemon]\nserver_key = '{keys / 'door.pub'}'\n"
        + EDGE
        + f"key = '{keys / 'clients/ann.key'}'\n",
        encoding="utf-8",
    )
    edge = load(Sources(Path("s.toml"))).jobs["edge"]
    assert isinstance(edge, RelayConfig)
    assert (edge.server_key, edge.key) == (keys / "door.pub", keys / "clients/ann.key")


def test_the_environment_stands_between_the_file_and_the_flags(keys: Keyring) -> None:
    key = keys / "door.key"
    text = f"[daemon]\nbind_key = '{key}'\nclients = '{keys / 'clients'}'\n" + OWN
    assert loaded(text, AMZMQ_SIDECAR_CLIENTS="any")["web"] == Lock(key, "any")
    told_both = told(text, "--clients", keys / "clients", AMZMQ_SIDECAR_CLIENTS="any")
    assert "1 key of keys/clients" in told_both.stdout.splitlines()[0]
    # Those of the commands that connect are not meant for a daemon that the same user starts.
    assert "any" not in told(text, AMZMQ_CLIENTS="any").stdout


# Mistakes: what is written, and how its line begins; after that comes the remedy.

KEYED = "[daemon]\nbind_key = 'keys/door.key'\nclients = 'any'\n"
MISTAKES = [
    ("[daemon]\nbind_key = 3\n" + WEB, "daemon.bind_key = 3: write text in quotes"),
    ("[daemon]\nkeys = 'x'\n" + WEB, "daemon.keys = 'x': unknown key; did you mean 'key'?"),
    ("[daemon]\ninsecure = 'no'\n" + WEB, "daemon.insecure = 'no': write true or false"),
    (
        "[daemon]\nbind = 'tcp://0.0.0.0:7791'\n" + WEB,
        "daemon.bind = 'tcp://0.0.0.0:7791': others than this host reach it; give bind_key",
    ),
    (
        WEB + "bind = 'tcp://10.0.0.9:7701'",
        "jobs.web.bind = 'tcp://10.0.0.9:7701': others than this host reach it",
    ),
    (
        EDGE + "bind = 'tcp://*:7801'",
        "jobs.edge.bind = 'tcp://*:7801': others than this host reach it",
    ),
    (
        "[daemon]\nbind_key = 'keys/door.key'\n" + OWN,
        "daemon.bind_key = 'keys/door.key': nothing says who may connect; give clients",
    ),
    (
        "[daemon]\nbind_key = 'keys/none.key'\nclients = 'any'\n" + OWN,
        "daemon.bind_key = 'keys/none.key': No such file or directory; make it with",
    ),
    (
        "[daemon]\nbind_key = 'keys/door.pub'\nclients = 'any'\n" + OWN,
        "daemon.bind_key = 'keys/door.pub': others may use it (mode 0644); run `chmod 600",
    ),
    (KEYED.replace("any", "none") + OWN, "daemon.clients = 'none': No such file or directory"),
    (
        "[daemon]\nclients = 'keys/clients'\n" + WEB,
        "daemon.clients = 'keys/clients': useless without bind_key",
    ),
    (KEYED + "rights = 'none'\n" + OWN, "daemon.rights = 'none': No such file or directory; name"),
    (KEYED + "rights = 's.toml'\n" + OWN, "daemon.rights = 's.toml': daemon.bind_key: unknown;"),
    ("[daemon]\nrights = 'r'\n" + WEB, "daemon.rights = 'r': nobody is known without keys; give"),
    (KEYED + "insecure = true\n" + WEB, "daemon.insecure = true: bind_key locks it; take one"),
    (
        KEYED + WEB + "clients = 'keys/clients'",
        "jobs.web.clients = 'keys/clients': it is served where the daemon is",
    ),
    (WEB + "insecure = true", "jobs.web.insecure = true: it is served where the daemon is"),
    (OWN + "clients = 'any'", "jobs.web.clients = 'any': useless without bind_key"),
    (
        OWN + "bind_key = 'keys/door.key'",
        "jobs.web.bind_key = 'keys/door.key': nothing says who may connect",
    ),
    (KEYED + OWN + "clients = 'none'", "jobs.web.clients = 'none': No such file or directory"),
    (EDGE + "key = 'keys/eve.key'", "jobs.edge.key = 'keys/eve.key': useless without server_key"),
    (EDGE + "server_key = 'x'", "jobs.edge.server_key = 'x': No such file or directory; make it"),
    (
        EDGE + "server_key = 'keys/door.pub'\nkey = 'none.key'",
        "jobs.edge.key = 'none.key': No such file or directory; make it",
    ),
    ("[daemon]\nserver_key = 'x'\n" + EDGE, "daemon.server_key = 'x': No such file or directory"),
    ("[daemon]\nkey = 'keys/eve.key'\n" + WEB, "daemon.key = 'keys/eve.key': useless without"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), MISTAKES, ids=[line for _, line in MISTAKES])
def test_a_mistake_with_keys_is_one_line_that_says_where_what_and_how(
    keys: Keyring, text: str, line: str
) -> None:
    Path("s.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigInvalid) as caught:
        load(Sources(Path("s.toml")))
    said = str(caught.value)
    assert said.startswith(line)
    assert "\n" not in said
    (mistake,) = caught.value.mistakes
    assert all((mistake.path, mistake.value, mistake.remedy))


def test_a_mistake_in_a_flag_is_one_line_and_status_2(keys: Keyring) -> None:
    done = told(OWN, "--bind-key", "none.key", "--clients", "any")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr).startswith("amzmq: daemon.bind_key = 'none.key': No such file")
