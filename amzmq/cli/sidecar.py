"""The ``sidecar`` command: the daemon beside an application."""

from __future__ import annotations

import dataclasses
import enum
import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amzmq.cli.arguments import AsJson, print_json
from amzmq.cli.groups import grouped
from amzmq.cli.outcome import NOT_ASKED, fail, one_line_errors
from amzmq.cli.security import Credentials, Lock

if TYPE_CHECKING:
    from amzmq.sidecar.config import Config, ServingConfig
    from amzmq.sidecar.loading import Sources

CONFIG_VARIABLE = "AMZMQ_SIDECAR_CONFIG"

_KEYS = {field.name for group in (Credentials, Lock) for field in dataclasses.fields(group)}

_EXTRA = ("starlette", "uvicorn", "prometheus_client")


# The variables of single commands would win over the file; those of the daemon stand between.
@partial(grouped, environment=False)
def sidecar(
    credentials: Credentials,
    lock: Lock,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD ...]", help="What --exec runs.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(envvar=CONFIG_VARIABLE, show_default=False, help="A TOML file of jobs."),
    ] = None,
    run_exec: Annotated[
        bool, typer.Option("--exec", help="Run CMD, pass on its output and exit status.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Print what would run, and exit.")] = False,
    name: Annotated[str | None, typer.Option(help="Id of the daemon's own machine.")] = None,
    bind: Annotated[str | None, typer.Option(help="Where that machine is served.")] = None,
    http: Annotated[str | None, typer.Option(help="HOST:PORT, unix:/PATH or off.")] = None,
    drain_timeout: Annotated[
        float | None, typer.Option(show_default=False, help="Seconds for an orderly end.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_json: Annotated[
        bool | None, typer.Option(show_default=False, help="Log one JSON object a line.")
    ] = None,
    exec_bind: Annotated[
        str | None, typer.Option(help="Where the machine of CMD is served.")
    ] = None,
    restart: Annotated[
        str | None, typer.Option(help="When CMD is restarted: never, on-failure or always.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run jobs beside an application: run it, watch it, show its states.

    The configuration is made of a file, the environment (AMZMQ_SIDECAR_HTTP and so on for every
    key of [daemon]) and flags; the later ones win. The keys are for all jobs that name none in the
    file: --key and --server-key for whom relay jobs follow, the others for who follows this.
    SIGTERM ends it in good order, SIGHUP reads the file again. Exit status: that of the main job,
    e.g. of CMD; 0 without one; 2 if it cannot start.

    Example: amzmq sidecar --exec -- python3 -m http.server 8000
    """
    daemon_flags: dict[str, object] = {
        "name": name,
        "bind": bind,
        "http": http,
        "drain_timeout": drain_timeout,
        "log_level": log_level,
        "log_json": log_json,
    }
    for group in (credentials, lock):
        daemon_flags |= {key: value or None for key, value in dataclasses.asdict(group).items()}
    exec_flags: dict[str, object] = {}
    if run_exec:
        if not command:
            fail("--exec needs a command: amzmq sidecar --exec -- CMD ...")
        exec_flags = {"command": command, "bind": exec_bind, "restart": restart}
        # A terminal is not handed on: what reads it from another session is stopped.
        exec_flags["stdin"] = "null" if os.isatty(0) else "inherit"
    elif command or exec_bind is not None or restart is not None:
        fail("a command, --exec-bind and --restart belong to --exec: --exec -- CMD ...")
    if config is None and not run_exec:
        fail(f"nothing to run: give --config FILE, {CONFIG_VARIABLE}, or --exec -- CMD ...")
    _run(config, _given(daemon_flags), _given(exec_flags), check, as_json)


def _given(flags: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in flags.items() if value is not None}


def _run(
    file: Path | None,
    daemon_flags: dict[str, object],
    exec_flags: dict[str, object],
    check: bool,
    as_json: bool,
) -> None:
    from amzmq.sidecar.loading import Sources, load  # reads no package of the extra
    from amzmq.sidecar.strict import ConfigInvalid

    sources = Sources(file, os.environ, daemon_flags, exec_flags)
    with one_line_errors():
        try:
            config = load(sources)
            if not check:
                status = _serve(config, sources)
        except ConfigInvalid as error:
            for mistake in error.mistakes:
                typer.echo(f"amzmq: {mistake}", err=True)
            raise typer.Exit(NOT_ASKED) from None
    if check:
        _print(config, as_json)
        return
    raise typer.Exit(status)


def _serve(config: Config, sources: Sources) -> int:
    if missing := [name for name in _EXTRA if find_spec(name) is None]:
        fail(f"the sidecar needs {' and '.join(missing)}: pip install 'amzmq[daemon]'")
    import asyncio

    from amzmq.sidecar import logs
    from amzmq.sidecar.daemon import Sidecar
    from amzmq.sidecar.loading import load
    from amzmq.sidecar.processes import adopt_orphans

    logs.configure(config.daemon)
    adopt_orphans()

    async def main() -> int:
        return await Sidecar(config, (lambda: load(sources)) if sources.file else None).run()

    return asyncio.run(main())


def _print(config: Config, as_json: bool) -> None:
    """What would run, with every default, and who could reach it."""
    told = _secured(config)
    if as_json:
        plain = _plain(config)
        assert isinstance(plain, dict)
        print_json({**plain, "secured": told})
        return
    daemon = config.daemon
    limited = f", limits={limits!r}" if (limits := _limited(daemon)) else ""
    print(f"{daemon.name}: {daemon.bind}, http {daemon.http}{limited}; {told[daemon.name]}")
    for name, job in config.jobs.items():
        settings = _plain(job)
        assert isinstance(settings, dict)
        settings["limits"] = _limited(job)
        shown = " ".join(
            f"{key}={value!r}" for key, value in settings.items() if value and key not in _KEYS
        )
        kind = type(job).__name__.removesuffix("Config").lower()
        print(f"{name}: {kind} {shown}; {told[name]}")


def _secured(config: Config) -> dict[str, str]:
    """How each machine is locked, by the names of the daemon and its jobs."""
    told = {config.daemon.name: config.daemon.lock.told(config.daemon.bind)}
    for name, job in config.jobs.items():
        told[name] = job.lock.told(job.bind) if job.bind else f"as {config.daemon.name}"
        if following := getattr(job, "credentials", None):
            told[name] += f"; upstream: {following.told()}"
    return told


def _limited(served: ServingConfig) -> dict[str, object]:
    """The limits that are not the default ones."""
    limits, default = served.limits, type(served.limits)()
    return {
        each.name: _plain(getattr(limits, each.name))
        for each in dataclasses.fields(limits)
        if getattr(limits, each.name) != getattr(default, each.name)
    }


def _plain(value: object) -> object:
    """Dataclasses and enums as JSON has them."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
