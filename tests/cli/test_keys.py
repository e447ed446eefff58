"""Keys on the command line: what serves is locked by them, what connects gets in with them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from amzmq.cli.app import app
from amzmq.cli.security import Credentials, Lock
from tests.cli.background import in_background, serving
from tests.cli.command import invoke, one_line, running
from tests.cli.keyring import Keyring

QUICK = ("--connect-timeout", "0.4")


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    return Keyring.made(tmp_path / "keys")


@pytest.fixture
def locked(keys: Keyring) -> Iterator[str]:
    lock = Lock(keys / "door.key", keys / "clients")
    with in_background(lambda: serving("door", transport=lock.transport())) as served:
        yield served.addr


def options(command: str) -> set[str]:
    info = next(
        info
        for info in app.registered_commands
        if (info.name or info.callback.__name__) == command  # type: ignore[union-attr]
    )
    assert info.callback is not None
    return set(inspect.signature(info.callback).parameters)


@pytest.mark.parametrize(
    "command",
    [
        "add", "remove", "set", "toggle", "inspect", "watch", "payloads", "when", "when-not",
        "ls", "doctor", "repl", "relay", "sidecar",
    ],
)  # fmt: skip
def test_every_command_that_connects_takes_the_same_keys(command: str) -> None:
    assert {"server_key", "key"} <= options(command)


@pytest.mark.parametrize("command", ["serve", "relay", "sidecar"])
def test_every_command_that_serves_takes_the_same_lock(command: str) -> None:
    assert {"bind_key", "clients", "rights", "insecure"} <= options(command)


@pytest.mark.parametrize("line", ["add ADDR Open", "inspect ADDR", "when ADDR Start", "ls ADDR"])
def test_with_the_right_keys_a_locked_source_answers(keys: Keyring, locked: str, line: str) -> None:
    done = invoke(*line.replace("ADDR", locked).split(), *keys.ann)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Start" in done.stdout


def test_the_repl_and_the_doctor_get_in_with_them_too(keys: Keyring, locked: str) -> None:
    done = invoke("repl", locked, *keys.ann, "--", "mach", "door")
    assert (done.returncode, one_line(done.stdout)) == (0, "(Start:1 Closed:1)")
    assert invoke("doctor", locked, *keys.ann, "--seconds", "0.1", "--slow", "5").returncode == 0


def test_variables_say_the_same_and_options_win(keys: Keyring, locked: str) -> None:
    ann = {"AMZMQ_SERVER_KEY": keys / "door.pub", "AMZMQ_KEY": keys / "clients/ann.key"}
    assert invoke("add", locked, "Open", **ann).returncode == 0
    refused = invoke("add", locked, "Open", "--key", keys / "eve.key", *QUICK, **ann)
    assert refused.returncode == 2


@pytest.mark.parametrize("who", ["nobody", "eve"])
def test_without_the_right_keys_nothing_is_told(keys: Keyring, locked: str, who: str) -> None:
    given = keys.eve if who == "eve" else ()
    for line in (("inspect", locked), ("ls", locked), ("add", locked, "Open")):
        done = invoke(*line, *given, *QUICK)
        assert (done.returncode, done.stdout) == (2, "")
        assert "amzmq doctor" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key": "ann.key"}, "--key ann.key: useless without server_key"),
        ({"server_key": "none.pub"}, "--server-key none.pub: No such file or directory; make it"),
        ({"server_key": "x" * 41}, "No such file or directory"),
    ],
)
def test_keys_that_cannot_be_used_are_one_line(given: dict[str, str], said: str) -> None:
    flags = [part for name, value in given.items() for part in (flag(name), value)]
    for line in (("ls",), ("add", "Open"), ("doctor",), ("repl",)):
        done = invoke(line[0], "tcp://127.0.0.1:9", *line[1:], *flags)
        assert done.returncode == 2
        assert said in one_line(done.stderr)


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_a_served_module_is_locked_and_its_users_have_their_rights(
    keys: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "house.py").write_text(
        "from amzmq import Machine, State\n"
        "door = Machine({'Open': State(), 'Alarm': State()}, id='door')\n",
        encoding="utf-8",
    )
    rights = tmp_path / "rights.toml"
    rights.write_text('[ann]\nmutate = ["Open"]\n', encoding="utf-8")
    serve = ("serve", "house:door", "--bind", "tcp://127.0.0.1:0", "--json", "--rights")
    with running(*serve, str(rights), *keys.lock, cwd=tmp_path) as process:
        assert process.stdout is not None
        addr = json.loads(process.stdout.readline())["addr"]
        assert invoke("add", addr, "Open", *keys.ann).returncode == 0
        denied = invoke("add", addr, "Alarm", *keys.ann)
        assert denied.returncode == 2
        assert "Alarm" in one_line(denied.stderr)
        assert invoke("inspect", addr, *QUICK).returncode == 2


def test_a_relay_has_keys_for_whom_it_follows_and_others_for_who_follows_it(
    keys: Keyring, locked: str, tmp_path: Path
) -> None:
    below = Keyring.made(tmp_path / "below")
    variables = {"AMZMQ_SERVER_KEY": keys / "door.pub", "AMZMQ_KEY": keys / "clients/ann.key"}
    with running("relay", locked, "--json", *below.lock, **variables) as relay:
        assert relay.stdout is not None
        addr = json.loads(relay.stdout.readline())["addr"]
        assert invoke("add", addr, "Open", *below.ann).returncode == 0
        assert invoke("when", locked, "Open", "--timeout", "10", *keys.ann).returncode == 0
        assert invoke("inspect", addr, *keys.ann, *QUICK).returncode == 2


UNFIT = [
    ({"bind_key": "DOOR"}, "nothing says who may connect; give clients"),
    ({"clients": "CLIENTS"}, "useless without bind_key"),
    ({"rights": "none.toml"}, "nobody is known without keys"),
    ({"bind_key": "DOOR", "clients": "none"}, "--clients none: No such file or directory; name"),
    ({"bind_key": "none.key", "clients": "any"}, "--bind-key none.key: No such file or directory"),
    ({"bind_key": "DOOR", "clients": "any", "rights": "none.toml"}, "--rights none.toml: No such"),
    ({"bind_key": "DOOR", "clients": "any", "insecure": "yes"}, "--insecure: bind_key locks it"),
]


@pytest.mark.parametrize(("given", "said"), UNFIT, ids=[said for _, said in UNFIT])
def test_a_lock_that_cannot_be_used_is_one_line_and_nothing_is_served(
    keys: Keyring, given: dict[str, str], said: str
) -> None:
    named = {"DOOR": keys / "door.key", "CLIENTS": keys / "clients"}
    flags: list[str] = []
    for name, value in given.items():
        flags += [flag(name)] if name == "insecure" else [flag(name), named.get(value, value)]
    done = invoke("relay", "tcp://127.0.0.1:9", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done.stderr)


def test_beyond_this_host_nothing_is_served_without_keys_unless_it_is_said() -> None:
    with in_background(lambda: serving("door")) as served:
        refused = invoke("relay", served.addr, "--bind", "tcp://0.0.0.0:0")
        assert refused.returncode == 2
        assert "whoever reaches this address" in one_line(refused.stderr)
        relay = ("relay", served.addr, "--bind", "tcp://0.0.0.0:0", "--insecure")
        with running(*relay, "--json") as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["machines"] == ["door"]


def test_a_transport_is_made_again_without_its_files(keys: Keyring) -> None:
    make = Credentials(keys / "door.pub", keys / "clients/ann.key").transports()
    Path(keys / "clients/ann.key").unlink()
    assert make() is not make()


def test_the_options_say_which_variable_stands_for_them() -> None:
    done = invoke("relay", "--help")
    for name in ("SERVER_KEY", "KEY", "BIND_KEY", "CLIENTS", "RIGHTS", "INSECURE"):
        assert f"AMZMQ_{name}]" in done.stdout
