"""The ``doctor`` command: what is wrong with a source as seen from here, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from amzmq.cli.arguments import Addr, AsJson, MachineId, print_json
from amzmq.cli.groups import grouped
from amzmq.cli.outcome import BAD, one_line_errors
from amzmq.cli.security import Credentials

if TYPE_CHECKING:
    from amzmq.cli.diagnosis import Finding

SECONDS = 3.0
TIMEOUT = 3.0
SLOW = 0.25


@grouped
def doctor(
    addr: Addr,
    credentials: Credentials,
    machine: MachineId = "",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="Follow only this state; repeatable."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds to watch the feed, if all else is well.")
    ] = SECONDS,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for each answer.")] = TIMEOUT,
    slow: Annotated[
        float, typer.Option(min=0.0, help="Seconds from which a round trip is called slow.")
    ] = SLOW,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a source, as seen from here, and how to mend it.

    Exit status: 0 nothing is wrong; 1 there are warnings or errors; 2 wrong usage.

    Example: amzmq doctor tcp://127.0.0.1:7701
    """
    from amzmq.cli import session
    from amzmq.cli.diagnosis import Case, Level, diagnose
    from amzmq.cli.greeting import check_address

    with one_line_errors():
        check_address(addr)
        keys = credentials.keys()
    case = Case(
        addr,
        machine,
        frozenset(state) if state else None,
        keys,
        credentials.server_key or None,
        timeout,
        seconds,
        slow,
    )
    findings = session.run(diagnose(case))
    is_well = all(finding.level is Level.OK for finding in findings)
    if as_json:
        print_json({"addr": addr, "ok": is_well, "findings": [_as_json(one) for one in findings]})
    else:
        for line in _lines(findings):
            print(line)
    if not is_well:
        raise typer.Exit(BAD)


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "what": finding.what,
        "remedy": finding.remedy,
    }


def _lines(findings: Sequence[Finding]) -> Iterable[str]:
    """A line for each finding, and one below it for its remedy."""
    levels = max(len(level.value) for level in type(findings[0].level))
    checks = max(len(finding.check) for finding in findings)
    for finding in findings:
        yield f"{finding.level.value:{levels}}  {finding.check:{checks}}  {finding.what}"
        if finding.remedy:
            yield f"{'':{levels}}  {'':{checks}}  -> {finding.remedy}"
