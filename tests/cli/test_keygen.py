from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from amzmq.cli.keygen import keygen
from amzmq.net.keys import Keys, public_key


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str) -> Result:
    app = typer.Typer()
    app.command()(keygen)
    return CliRunner().invoke(app, args)


def test_it_writes_a_pair_that_can_be_used_in_a_directory_it_makes(here: Path) -> None:
    made = run("keys/door")
    assert made.exit_code == 0, made.output
    keys = Keys.load("keys/door.key")
    assert public_key("keys/door.pub") == keys.public
    assert stat.S_IMODE((here / "keys/door.key").stat().st_mode) == 0o600
    assert keys.public in made.output
    assert keys.secret not in made.output


def test_without_a_name_the_pair_is_called_amzmq(here: Path) -> None:
    assert run().exit_code == 0
    assert sorted(path.name for path in here.iterdir()) == ["amzmq.key", "amzmq.pub"]


def test_json_names_the_files_and_the_public_key(here: Path) -> None:
    said = json.loads(run("door.key", "--json").stdout)
    keys = Keys.load("door.key")
    assert said == {"secret": "door.key", "public": "door.pub", "key": keys.public}


def test_it_never_overwrites_and_says_so_in_one_line(here: Path) -> None:
    run("door")
    before = Keys.load("door.key")
    again = run("door")
    assert again.exit_code == 2
    assert again.output.count("\n") == 1
    assert "it exists" in again.output
    assert Keys.load("door.key") == before


@pytest.mark.parametrize("name", ["", "keys/", ".", "..", ".key", "keys/.."])
def test_a_name_of_nothing_is_refused(here: Path, name: str) -> None:
    refused = run(name)
    assert refused.exit_code == 2
    assert "names no keys" in refused.output
    assert not list(here.rglob("*.key"))


def test_a_directory_that_cannot_be_made_is_named(here: Path) -> None:
    (here / "keys").write_text("a file")
    refused = run("keys/door")
    assert refused.exit_code == 2
    assert "keys cannot be made" in refused.output
