"""Options that belong together: written once, as the fields of a dataclass, taken by many commands.

A command names the dataclass as the type of a parameter. On the command line it has the fields'
arguments and options in its place, and is called with the dataclass made of them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ParameterInfo


def grouped(command: Callable[..., None], *, environment: bool = True) -> Callable[..., None]:
    """The command as typer is to see it, with the fields of each group as its parameters.

    Args:
        command: All of its parameters can be given by keyword. Groups may have groups as fields.
        environment: Whether the variables of the options count; without, only what was typed.
    """
    taken = inspect.signature(command, eval_str=True).parameters.values()
    seen: list[inspect.Parameter] = []
    for parameter in taken:
        if dataclasses.is_dataclass(parameter.annotation):
            seen += _options(parameter.annotation, environment)
        else:
            seen.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def flat(**given: object) -> None:
        command(
            **{
                parameter.name: _made(parameter.annotation, given)
                if dataclasses.is_dataclass(parameter.annotation)
                else given[parameter.name]
                for parameter in taken
            }
        )

    flat.__signature__ = inspect.Signature(seen)  # type: ignore[attr-defined]
    flat.__annotations__ = {}  # typer shall not look for the groups themselves
    return flat


def _hints(group: Any) -> dict[str, Any]:
    return get_type_hints(group, include_extras=True)


def _options(group: Any, environment: bool) -> Iterator[inspect.Parameter]:
    hints = _hints(group)
    for field in dataclasses.fields(group):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _options(hint, environment)
            continue
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=hint if environment else _without_variables(hint),
        )


def _without_variables(hint: Any) -> Any:
    if get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    plain = []
    for note in notes:
        if isinstance(note, ParameterInfo):
            note = copy(note)
            note.envvar = None
        plain.append(note)
    return Annotated[kind, *plain]


def _made(group: Any, given: Mapping[str, object]) -> object:
    hints = _hints(group)
    return group(
        **{
            field.name: _made(hints[field.name], given)
            if dataclasses.is_dataclass(hints[field.name])
            else given[field.name]
            for field in dataclasses.fields(group)
        }
    )
