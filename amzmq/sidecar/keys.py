"""The keys of a configuration: handed down from the daemon to its jobs, and checked."""

from __future__ import annotations

from dataclasses import replace

from amzmq.cli.security import FOREIGN, Unfit
from amzmq.net.curve import is_local
from amzmq.rpc.server.limits import Limits
from amzmq.sidecar.config import Config, DaemonConfig, JobConfig, RelayConfig, ServingConfig
from amzmq.sidecar.strict import StrictReader, join

_LOCK = ("bind_key", "clients", "rights")


def handed_down(config: Config) -> Config:
    """The configuration with the daemon's keys where a job names none."""
    jobs = {name: _with_keys(job, config.daemon) for name, job in config.jobs.items()}
    return replace(config, jobs=jobs)


def _with_keys(job: JobConfig, daemon: DaemonConfig) -> JobConfig:
    if isinstance(job, RelayConfig):
        server_key, key = job.server_key or daemon.server_key, job.key or daemon.key
        job = replace(job, server_key=server_key, key=key)
    if not job.bind or job.insecure:
        return job  # it is served where the daemon is, or says itself that it is open
    bind_key = job.bind_key or daemon.bind_key
    return replace(
        job,
        bind_key=bind_key,
        clients=job.clients or daemon.clients,
        rights=job.rights or daemon.rights,
        insecure=daemon.insecure and not bind_key,
    )


def check(reader: StrictReader, config: Config) -> None:
    """Take down every key that cannot be used, and every address that is open by mistake."""
    _check_serving(reader, config.daemon, config.daemon, "daemon")
    for unfit in config.daemon.credentials.unfit():
        _take_down(reader, unfit, "daemon")
    for name, job in config.jobs.items():
        path = join("jobs", name)
        effective = _with_keys(job, config.daemon)
        if not job.bind:
            _check_shared(reader, job, path)
            continue
        _check_serving(reader, job, effective, path)
        if isinstance(job, RelayConfig) and isinstance(effective, RelayConfig):
            for unfit in effective.credentials.unfit():
                if getattr(job, unfit.field):  # else it is the daemon's, and was told
                    _take_down(reader, unfit, path)


def _check_serving(
    reader: StrictReader,
    own: DaemonConfig | JobConfig,
    effective: DaemonConfig | JobConfig,
    path: str,
) -> None:
    before = len(reader.mistakes)
    for unfit in effective.lock.unfit():
        if getattr(own, unfit.field):
            _take_down(reader, unfit, path)
    is_open = not effective.bind_key and not effective.insecure
    if is_open and not is_local(own.bind) and len(reader.mistakes) == before:
        reader.wrong(join(path, "bind"), own.bind, FOREIGN)


def _check_shared(reader: StrictReader, job: ServingConfig, path: str) -> None:
    """A job that is served where the daemon is has no say in how."""
    for key in (*_LOCK, "insecure"):
        if value := getattr(job, key):
            remedy = "it is served where the daemon is, and locked as that is; give it a bind"
            reader.wrong(join(path, key), value, remedy)
    if job.limits != Limits():
        remedy = "it is served where the daemon is, with the limits of that; give it a bind"
        reader.missing(join(path, "limits"), remedy)


def _take_down(reader: StrictReader, unfit: Unfit, path: str) -> None:
    reader.wrong(join(path, unfit.field), unfit.value, unfit.remedy)
