"""Where a configuration comes from: defaults, a TOML file, the environment, flags; in this order.

Every source is put into one table first and read as one, so that all of them obey one law.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_type_hints

from amzmq.sidecar import checks, keys
from amzmq.sidecar.config import (
    KINDS,
    Config,
    DaemonConfig,
    ExecConfig,
    JobConfig,
    JobKind,
    ReadyConfig,
    StateConfig,
)
from amzmq.sidecar.states import AppStates
from amzmq.sidecar.strict import ConfigInvalid, Mistake, StrictReader, join

VARIABLE = "AMZMQ_SIDECAR_"
"""Before the name of a key of [daemon] in the environment: AMZMQ_SIDECAR_LOG_LEVEL."""

EXEC_NAME = "app"
"""The job of ``--exec``."""

EXEC_BIND = "tcp://127.0.0.1:7701"
"""Where that job's machine is served."""

_READY_WAYS = ("tcp", "http", "line")


@dataclass(frozen=True, slots=True)
class Sources:
    """What the user gave.

    Attributes:
        file: The TOML file; None without.
        environment: The process's environment.
        daemon_flags: Keys of [daemon] as flags gave them, by key.
        exec_flags: Keys of the job of ``--exec``, with ``command``; empty without it.
    """

    file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    daemon_flags: Mapping[str, object] = field(default_factory=dict)
    exec_flags: Mapping[str, object] = field(default_factory=dict)


def load(sources: Sources) -> Config:
    """The configuration that the sources make together.

    Raises:
        ConfigInvalid: With every mistake that was found.
    """
    tables = {} if sources.file is None else _parsed(sources.file)
    reader = StrictReader()
    reader.known_keys(tables, ("daemon", "jobs"), "")
    daemon = _daemon(reader, tables.get("daemon", {}), sources)
    jobs = _jobs(reader, tables.get("jobs", {}), sources)
    if not reader.mistakes:
        assert daemon is not None
        config = Config(daemon, jobs)
        _check_together(reader, config)
        keys.check(reader, config)
        if not reader.mistakes:
            return keys.handed_down(config)
    raise ConfigInvalid(*reader.mistakes)


def _parsed(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(Mistake("--config", repr(str(path)), str(error.strerror))) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(Mistake(str(path), "", "TOML is UTF-8; save it so")) from error
    except tomllib.TOMLDecodeError as error:
        remedy = f"not TOML: {str(error)[0].lower()}{str(error)[1:]}"
        raise ConfigInvalid(Mistake(str(path), "", remedy)) from error


def _daemon(reader: StrictReader, table: object, sources: Sources) -> DaemonConfig | None:
    """[daemon], and over it the environment, and over that the flags."""
    config = reader.table(DaemonConfig, table, "daemon")
    if not isinstance(table, Mapping):
        return None
    flagged = {f"--{key.replace('_', '-')}": key for key in sources.daemon_flags}
    values = {flag: sources.daemon_flags[key] for flag, key in flagged.items()}
    hints = get_type_hints(DaemonConfig)
    for key in hints:
        if key not in sources.daemon_flags and (name := VARIABLE + key.upper()) in (
            sources.environment
        ):
            flagged[name] = key
            values[name] = _plain(sources.environment[name], hints[key])
    # Each is read under the name it was given by, so that a mistake is told with that name.
    merged = dict(table)
    for given, key in flagged.items():
        if _read_alone(reader, given, key, values[given]):
            merged[key] = values[given]
    if config is None:
        return None
    return StrictReader().table(DaemonConfig, merged, "daemon")


def _read_alone(reader: StrictReader, given: str, key: str, value: object) -> bool:
    trial = StrictReader()
    trial.table(DaemonConfig, {key: value}, "")
    reader.mistakes += [Mistake(given, mistake.value, mistake.remedy) for mistake in trial.mistakes]
    return not trial.mistakes


def _plain(text: str, wanted: object) -> object:
    """A variable's text as TOML has it, if it is to be a number or a truth."""
    if wanted not in (bool, int, float):
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def _jobs(reader: StrictReader, tables: object, sources: Sources) -> dict[str, JobConfig]:
    jobs: dict[str, JobConfig] = {}
    if not isinstance(tables, Mapping):
        reader.wrong("jobs", tables, "write each job as a table, [jobs.NAME]")
        return jobs
    for name, table in tables.items():
        path = join("jobs", name)
        if remedy := checks.name(name):
            reader.wrong(path, name, remedy)
        elif (job := _job(reader, table, path)) is not None:
            jobs[name] = job
    if sources.exec_flags:
        if EXEC_NAME in tables:
            reader.missing(join("jobs", EXEC_NAME), "--exec makes a job of this name; rename it")
        flags = {"main": True, "bind": EXEC_BIND, **sources.exec_flags}
        job = reader.table(ExecConfig, flags, "--exec")
        if job is not None:
            jobs[EXEC_NAME] = job
    return jobs


def _job(reader: StrictReader, table: object, path: str) -> JobConfig | None:
    if not isinstance(table, Mapping):
        reader.wrong(path, table, f"write it as a table, [{path}]")
        return None
    rest = {key: value for key, value in table.items() if key != "kind"}
    if "kind" not in table:
        kinds = " ".join(repr(kind.value) for kind in KINDS)
        reader.missing(join(path, "kind"), f"it is required; write one of {kinds}")
        return None
    kind = reader.value(JobKind, table["kind"], join(path, "kind"))
    if kind is None:
        return None
    return cast("JobConfig | None", reader.table(KINDS[cast(JobKind, kind)], rest, path))


# What no single value shows.


def _check_together(reader: StrictReader, config: Config) -> None:
    if not config.jobs:
        reader.missing("jobs", "there is nothing to run; add a table [jobs.NAME] or --exec -- CMD")
    daemon = config.daemon
    if not daemon.http_open and not checks.is_loopback(daemon.http):
        reader.wrong(
            "daemon.http", daemon.http, "not on the loopback; set daemon.http_open = true to allow"
        )
    if daemon.name in config.jobs:
        reader.missing(join("jobs", daemon.name), "the daemon has this name; rename one of them")
    mains = [name for name, job in config.jobs.items() if isinstance(job, ExecConfig) and job.main]
    for name in mains[1:]:
        reader.wrong(f"jobs.{name}.main", True, f"only one job can be; jobs.{mains[0]} is already")
    _check_addresses(reader, config)
    for name, job in config.jobs.items():
        if isinstance(job, ExecConfig):
            _check_exec(reader, job, join("jobs", name))


def _check_addresses(reader: StrictReader, config: Config) -> None:
    """No address twice: a feed takes the port after its conversation's."""
    taken: dict[tuple[str, int], str] = {}
    daemon = config.daemon
    told = {"daemon.bind": daemon.bind}
    told |= {f"jobs.{name}.bind": job.bind for name, job in config.jobs.items()}
    if daemon.http != checks.HTTP_OFF and not daemon.http.startswith(checks.UNIX):
        told["daemon.http"] = daemon.http
    for path, address in told.items():
        for endpoint in _occupied(address, feed=path != "daemon.http"):
            if endpoint in taken:
                reader.wrong(
                    path,
                    address,
                    f"{taken[endpoint]} takes the same port; a feed needs the port after its own",
                )
                break
            taken[endpoint] = path


def _occupied(address: str, feed: bool) -> list[tuple[str, int]]:
    if not address:
        return []
    scheme, separator, rest = address.partition("://")
    if separator and scheme != "tcp":
        return [(address, 0)]
    host, port = checks.split_host_port(rest or address)
    return [(host, port + n) for n in range(2 if feed else 1)] if port else []


def _check_exec(reader: StrictReader, job: ExecConfig, path: str) -> None:
    if not job.command[0]:
        reader.wrong(f"{path}.command[0]", "", "name the program to run")
    if job.backoff.maximum < job.backoff.initial:
        at = f"{path}.backoff.maximum"
        reader.wrong(at, job.backoff.maximum, f"give initial, {job.backoff.initial:g}, or more")
    if job.ready is not None:
        _check_ready(reader, job.ready, f"{path}.ready")
    known = {*AppStates.names(), *job.states}
    for name, state in job.states.items():
        _check_state(reader, name, state, known, join(f"{path}.states", name))
    counted = Counter(job.forward)
    for name in (name for name, count in counted.items() if count > 1):
        reader.wrong(f"{path}.forward", name, "it is there twice; take one out")


def _check_ready(reader: StrictReader, ready: ReadyConfig, path: str) -> None:
    ways = [way for way in _READY_WAYS if getattr(ready, way)]
    if len(ways) != 1:
        what = f"{' and '.join(ways)} exclude each other" if ways else "it has no way to look"
        reader.missing(path, f"{what}; give one of {' '.join(_READY_WAYS)}")
    if ready.restart and ready.line:
        reader.wrong(f"{path}.restart", True, "a line never fails; look by tcp or http")


def _check_state(
    reader: StrictReader, name: str, state: StateConfig, known: set[str], path: str
) -> None:
    if remedy := checks.state_name(name):
        reader.wrong(path, name, remedy)
    elif name in AppStates.names():
        reader.missing(path, "every application has this state already; rename it")
    for relation in ("require", "after", "add", "remove"):
        # What is common tells facts: other states may build on it, and not change it.
        allowed = known if relation in ("require", "after") else known - {*AppStates.names()}
        for other in getattr(state, relation):
            if other not in allowed:
                remedy = f"not a state it may name; there are: {' '.join(sorted(allowed))}"
                reader.wrong(f"{path}.{relation}", other, remedy)
    for other in {*state.require} & {*state.remove}:
        reader.wrong(f"{path}.remove", other, "it is required as well; take it out of one")
