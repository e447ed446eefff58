from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from amzmq.cli.app import app
from amzmq.cli.arguments import jsonable, parse_arg, parse_args

ADDR = "tcp://127.0.0.1:7701"
COMMANDS = (
    "relay",
    "sidecar",
    "demo",
    "serve",
    "add",
    "remove",
    "set",
    "toggle",
    "inspect",
    "when",
    "when-not",
    "watch",
    "keygen",
    "payloads",
    "ls",
    "repl",
    "doctor",
    "bench",
)


def test_every_command_is_listed_above() -> None:
    names = {
        info.name or info.callback.__name__ for info in app.registered_commands if info.callback
    }
    assert names == {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: amzmq {command}" in result.output


@pytest.mark.parametrize(
    "line",
    [
        "add",
        f"add {ADDR}",
        f"add {ADDR} Open --arg user",
        f"add {ADDR} Open --arg =1",
        f"add {ADDR} Open --arg a=1 --arg a=2",
        f"when {ADDR}",
        f"when {ADDR} Open --timeout -1",
        f"when {ADDR} Open --timeout soon",
        f"when {ADDR} Open Bell --arg user=42",
        "demo --subscribers 0",
        "demo --seconds 0",
        "demo --path no-such-folder",
        "serve",
        "fly",
        "ls",
        "repl",
        "repl no-such-target",
        "repl --dir no-such-folder",
        "repl --file --dir x",
        f"repl {ADDR}",
        f"repl {ADDR} --timeout -1 -- status",
        f"repl {ADDR} --connect-timeout 3600 -- fly",
        "doctor",
        "doctor 127.0.0.1:7701",
        "doctor tcp://127.0.0.1:0",
        f"doctor {ADDR} --key some.key",
        f"ls {ADDR} --key some.key",
        f"relay {ADDR} --clients any",
        f"doctor {ADDR} --server-key no-such-file.pub",
        f"doctor {ADDR} --seconds 0",
    ],
)
def test_wrong_usage_is_status_2(line: str) -> None:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "target", ["json", "json:", ":m", "json:dumps.nothing", "no_such_module:m"]
)
def test_serving_what_is_no_machine_is_status_2_in_one_line(target: str) -> None:
    result = CliRunner().invoke(app, ["serve", target])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("amzmq: ")


def test_an_arg_is_json_where_it_is_json() -> None:
    texts = ["n=3", "x=1.5", "yes=true", "user=ann", 'id="3"', "list=[1, 2]", "empty=", "eq=a=b"]
    assert parse_args(texts) == {
        "n": 3,
        "x": 1.5,
        "yes": True,
        "user": "ann",
        "id": "3",
        "list": [1, 2],
        "empty": "",
        "eq": "a=b",
    }
    assert parse_args(None) is None
    with pytest.raises(typer.BadParameter):
        parse_arg("user")


def test_what_the_wire_has_becomes_json() -> None:
    value = {"at": 1, b"\x01": b"\xff", 3: [None, (True, "x")]}
    assert json.dumps(jsonable(value)) == '{"at": 1, "01": "ff", "3": [null, [true, "x"]]}'


def completed(line: str) -> list[str]:
    """What Tab offers in bash at the end of a line."""
    words = line.split(" ")
    variables = {
        "_AMZMQ_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(app, [], prog_name="amzmq", env=variables)
    assert result.exit_code == 0
    return result.output.split()


def test_tab_completes_commands_and_options() -> None:
    assert completed("amzmq wa") == ["watch"]
    assert completed("amzmq whe") == ["when", "when-not"]
    assert completed(f"amzmq add {ADDR} Open --se") == ["--server-key"]
    assert {"--exec", "--exec-bind"} == set(completed("amzmq sidecar --ex"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_a_script_that_asks_the_command(shell: str) -> None:
    variables = {"_AMZMQ_COMPLETE": f"source_{shell}"}
    script = CliRunner().invoke(app, [], prog_name="amzmq", env=variables)
    assert script.exit_code == 0
    assert f"_AMZMQ_COMPLETE=complete_{shell}" in script.output


def test_completion_for_the_users_shell_can_be_installed() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert "--install-completion" in result.output
    assert "--show-completion" in result.output


def test_an_output_that_is_no_terminal_has_no_colours() -> None:
    for line in ("--help", "repl --help", f"repl {ADDR} --connect-timeout 0.2 -- status"):
        result = CliRunner().invoke(app, line.split())
        assert "\x1b" not in result.output
