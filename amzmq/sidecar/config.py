"""What a daemon is told to run. `strict` fills these in, `loading` finds and joins the sources."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from amzmq.cli.security import Credentials, Lock
from amzmq.rpc.server.limits import Limits
from amzmq.sidecar import checks


class JobKind(enum.Enum):
    """What a job does."""

    EXEC = "exec"
    ATTACH = "attach"
    RELAY = "relay"


class Restart(enum.Enum):
    """When an application that ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Stdin(enum.Enum):
    """What an application reads."""

    NULL = "null"
    INHERIT = "inherit"


class LogLevel(enum.Enum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _checked(check: object, default: Any) -> Any:
    return field(default=default, metadata={"check": check})


def _needed(check: object) -> Any:
    return field(metadata={"check": check, "filled": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """How what is served is locked: each file is one of this host, as the daemon sees it.

    Attributes:
        bind_key: The secret key that it is served with.
        clients: Folder with the .pub files of who may connect, or "any" for whoever has the
            public key.
        rights: What each of them may do: a TOML file.
        insecure: Whether it is served without keys, also where others than this host reach it.
        limits: How much those who connect may use.
    """

    bind_key: str = _checked(checks.argument, "")
    clients: str = _checked(checks.argument, "")
    rights: str = _checked(checks.argument, "")
    insecure: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def lock(self) -> Lock:
        """The same, ready for use."""
        return Lock(self.bind_key, self.clients, self.rights, self.insecure)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingConfig(ServingConfig):
    """With which keys others are followed, and how what comes of that is locked.

    Attributes:
        server_key: The public key of whom is followed: its text, or a .pub file.
        key: Our secret key's file; a new key each time if empty.
    """

    server_key: str = _checked(checks.argument, "")
    key: str = _checked(checks.argument, "")

    @property
    def credentials(self) -> Credentials:
        """The same, ready for use."""
        return Credentials(self.server_key, self.key)


@dataclass(frozen=True, slots=True)
class ReadyConfig:
    """How it is seen that an application can do its work: one of the first three.

    Attributes:
        tcp: HOST:PORT that accepts a connection.
        http: URL that answers with a status below 400.
        line: Regular expression found in a line that it prints.
        interval: Seconds between two looks.
        timeout: Seconds that one look may take.
        start_timeout: Seconds in which it must have become ready; else it has failed.
        failures: Looks in a row that have to fail before it counts as Unhealthy.
        restart: Whether an Unhealthy application is restarted.
    """

    tcp: str = _checked(checks.host_port, "")
    http: str = _checked(checks.http_url, "")
    line: str = _checked(checks.pattern, "")
    interval: float = _checked(checks.positive, 1.0)
    timeout: float = _checked(checks.positive, 1.0)
    start_timeout: float = _checked(checks.positive, 60.0)
    failures: int = _checked(checks.positive, 3)
    restart: bool = False


@dataclass(frozen=True, slots=True)
class BackoffConfig:
    """How long to wait before a restart.

    Attributes:
        initial: Seconds before the first one.
        factor: By which each further one waits longer.
        maximum: Seconds that are never exceeded.
        reset_after: Seconds of running after which it begins at `initial` again.
        limit: Restarts in a row after which it has Failed; 0 is no limit.
    """

    initial: float = _checked(checks.not_negative, 0.5)
    factor: float = _checked(checks.at_least_one, 2.0)
    maximum: float = _checked(checks.not_negative, 30.0)
    reset_after: float = _checked(checks.positive, 60.0)
    limit: int = _checked(checks.not_negative, 0)

    def delay(self, restarts: int) -> float:
        """Seconds before a restart, after so many in a row.

        >>> [BackoffConfig().delay(n) for n in (0, 1, 2, 9)]
        [0.5, 1.0, 2.0, 30.0]
        """
        delay = self.initial
        for _ in range(restarts):
            delay *= self.factor
            if delay >= self.maximum:
                break
        return min(delay, self.maximum)


@dataclass(frozen=True, slots=True)
class StateConfig:
    """A state of the application's own, which it changes over HTTP; see `amzmq.State`."""

    auto: bool = False
    multi: bool = False
    require: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


_HANDED_ON = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGWINCH")


@dataclass(frozen=True, slots=True)
class ExecConfig(ServingConfig):
    """Runs and watches an application.

    Attributes:
        command: The program and its arguments; no shell is involved.
        bind: Where its machine is served; if empty, where the daemon's is, under its own id.
        cwd: The folder it runs in; the daemon's if empty.
        env: Added to the daemon's environment.
        stdin: What it reads.
        main: Whether the daemon ends with it, with its exit status.
        pass_output: Whether its output is also written to the daemon's.
        max_line: Bytes of a line; a longer one is told in parts.
        ready: How its readiness is seen; ready once it runs, without.
        restart: When it is started again.
        backoff: How long to wait before.
        stop_signal: How it is asked to end.
        grace: Seconds it may take for that before it is killed.
        forward: Signals to the daemon that it gets as well; SIGHUP if there is no file to read.
        states: States of its own.
    """

    command: tuple[str, ...] = _needed(checks.argument)
    bind: str = _checked(checks.endpoint, "")
    cwd: str = _checked(checks.not_empty, "")
    env: dict[str, str] = field(default_factory=dict, metadata={"check": checks.argument})
    stdin: Stdin = Stdin.NULL
    main: bool = False
    pass_output: bool = True
    max_line: int = _checked(checks.line_bytes, 16 * 1024)
    ready: ReadyConfig | None = None
    restart: Restart = Restart.NEVER
    backoff: BackoffConfig = field(default_factory=BackoffConfig)
    stop_signal: str = _checked(checks.signal_name, "SIGTERM")
    grace: float = _checked(checks.not_negative, 10.0)
    forward: tuple[str, ...] = _checked(checks.signal_name, _HANDED_ON)
    states: dict[str, StateConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttachConfig(ServingConfig):
    """Exposes a machine from Python code.

    Attributes:
        target: MODULE:OBJECT, a machine or a function that makes one.
        bind: Where it is served; if empty, where the daemon's machine is, under its own id.
    """

    target: str = _needed(checks.target)
    bind: str = _checked(checks.endpoint, "")


@dataclass(frozen=True, slots=True)
class RelayConfig(FollowingConfig):
    """Follows machines elsewhere and serves them here.

    Attributes:
        upstream: Where they are served, each address tried in turn.
        bind: Where they are served again: a place of its own, by default any free port.
        machines: Their ids; all that are served there when it starts, if empty.
    """

    upstream: tuple[str, ...] = _needed(checks.endpoint)
    bind: str = _checked(checks.endpoint, "tcp://127.0.0.1:0")
    machines: tuple[str, ...] = _checked(checks.not_empty, ())


JobConfig = ExecConfig | AttachConfig | RelayConfig

KINDS: dict[JobKind, type[ExecConfig] | type[AttachConfig] | type[RelayConfig]] = {
    JobKind.EXEC: ExecConfig,
    JobKind.ATTACH: AttachConfig,
    JobKind.RELAY: RelayConfig,
}


@dataclass(frozen=True, slots=True)
class DaemonConfig(FollowingConfig):
    """The daemon itself; its keys are also those of the jobs that name none.

    Attributes:
        name: Id of its own machine.
        bind: Where that is served.
        http: The local interface: HOST:PORT, unix:/PATH, or off.
        http_open: Whether HOST may be another than the loopback.
        log_level: How much is logged.
        log_json: Whether as one JSON object a line.
        drain_timeout: Seconds for a whole orderly end; what runs then is killed.
    """

    name: str = _checked(checks.name, "sidecar")
    bind: str = _checked(checks.endpoint, "tcp://127.0.0.1:7791")
    http: str = _checked(checks.http_address, "127.0.0.1:7790")
    http_open: bool = False
    log_level: LogLevel = LogLevel.INFO
    log_json: bool = False
    drain_timeout: float = _checked(checks.positive, 30.0)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything.

    Attributes:
        daemon: The daemon itself.
        jobs: What it runs, by name, in the order of their start.
    """

    daemon: DaemonConfig = field(default_factory=DaemonConfig)
    jobs: dict[str, JobConfig] = field(default_factory=dict)
