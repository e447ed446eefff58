from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from amzmq.cli.groups import grouped


@dataclass(frozen=True, slots=True)
class Engine:
    fuel: Annotated[str, typer.Option(envvar="CAR_FUEL")] = "none"


@dataclass(frozen=True, slots=True)
class Car:
    name: Annotated[str, typer.Argument()]
    engine: Engine
    doors: int = 4


def run(*args: str, environment: bool = True, **variables: str) -> str:
    app = typer.Typer()

    @app.command()
    @partial(grouped, environment=environment)
    def drive(car: Car, fast: bool = False) -> None:
        """Drive."""
        print(car.name, car.engine.fuel, car.doors, fast)

    result = CliRunner().invoke(app, args, env=variables)
    assert result.exit_code == 0, result.output
    return result.output.strip()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("beetle",), "beetle none 4 False"),
        (("beetle", "--fuel", "petrol", "--doors", "2", "--fast"), "beetle petrol 2 True"),
    ],
)
def test_a_group_is_made_of_the_options_of_its_fields_and_of_groups_in_it(
    args: tuple[str, ...], said: str
) -> None:
    assert run(*args) == said


def test_a_variable_counts_unless_the_command_wants_none() -> None:
    assert run("beetle", CAR_FUEL="diesel") == "beetle diesel 4 False"
    assert run("beetle", "--fuel", "gas", CAR_FUEL="diesel") == "beetle gas 4 False"
    assert run("beetle", environment=False, CAR_FUEL="diesel") == "beetle none 4 False"


def test_the_help_shows_the_fields_and_the_commands_own_words() -> None:
    said = run("--help")
    assert "Drive." in said
    for option in ("--fuel", "--doors", "--fast"):
        assert option in said
    assert "--engine" not in said
    assert "--car" not in said
