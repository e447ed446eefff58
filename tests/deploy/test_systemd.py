from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

from amzmq.sidecar.config import ExecConfig
from amzmq.sidecar.loading import Sources, load
from tests.deploy import tools

FOLDER = tools.DEPLOY / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
WORST_EXPOSURE = 2.0
"""Of 10; systemd calls what is below 2.0 well protected, and 9 and more unsafe."""


class _Unit(configparser.ConfigParser):
    """A unit file: keys have capitals, and some stand there several times."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",))
        self.read(path, encoding="utf-8")

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def service(name: str) -> configparser.SectionProxy:
    return _Unit(FOLDER / name)["Service"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with programs that are on this computer."""
    for name in UNITS:
        text = (FOLDER / name).read_text(encoding="utf-8")
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    assert len(UNITS) == 2
    for name in UNITS:
        sections = {"Unit", "Service", "Install"}
        assert set(_Unit(FOLDER / name).sections()) == sections
    if tools.find("systemd-analyze", "units were looked at by their structure only"):
        told = tools.run(installed, "systemd-analyze", "verify", "--man=no", *UNITS)
        assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_locked_down(name: str, installed: Path) -> None:
    told = service(name)
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome"):
        assert told[key] == "yes"
    assert told["ProtectSystem"] == "strict"
    assert told["CapabilityBoundingSet"] == ""
    assert told["User"] == "amzmq"
    # Without it libzmq aborts when it binds.
    assert "AF_NETLINK" in told["RestrictAddressFamilies"].split()
    if tools.find("systemd-analyze", "units were looked at by their structure only"):
        rated = tools.run(installed, "systemd-analyze", "security", "--offline=true", name)
        match = re.search(r"exposure level for \S+: ([\d.]+)", rated.stdout)
        assert match is not None, rated.stderr
        assert float(match[1]) <= WORST_EXPOSURE, rated.stdout


def test_a_unit_that_is_not_locked_down_is_noticed(installed: Path) -> None:
    (installed / "open.service").write_text(
        "[Service]\nExecStrat=/bin/true\n[Service]\nExecStart=/bin/true\n", encoding="utf-8"
    )
    if tools.find("systemd-analyze", "units were looked at by their structure only"):
        told = tools.run(installed, "systemd-analyze", "verify", "--man=no", "open.service")
        assert "ExecStrat" in told.stderr
        rated = tools.run(
            installed, "systemd-analyze", "security", "--offline=true", "open.service"
        )
        match = re.search(r"exposure level for \S+: ([\d.]+)", rated.stdout)
        assert match is not None
        assert float(match[1]) > WORST_EXPOSURE


def test_the_sidecar_has_a_socket_folder_a_watchdog_and_time_to_end() -> None:
    told = service("amzmq-sidecar@.service")
    assert told["Type"] == "notify"
    assert int(told["WatchdogSec"]) > 0
    assert told["RuntimeDirectory"] == "amzmq-%i"
    assert told["KillMode"] == "mixed"
    config = load(Sources(FOLDER / "web.toml"))
    assert int(told["TimeoutStopSec"]) > config.daemon.drain_timeout


def test_the_example_of_a_sidecar_is_good_and_its_sockets_are_in_the_folder() -> None:
    config = load(Sources(FOLDER / "web.toml"))
    (job,) = config.jobs.values()
    assert isinstance(job, ExecConfig)
    for address in (config.daemon.bind, config.daemon.http, job.bind):
        assert address.partition(":")[2].lstrip("/").startswith("run/amzmq-web/")


def test_the_relay_serves_in_its_socket_folder() -> None:
    told = service("amzmq-relay.service")
    assert f"ipc:///run/{told['RuntimeDirectory']}/" in told["Environment"]
    assert told["ExecStart"].endswith("/app/relay.py")
    assert (tools.DEPLOY / "app" / "relay.py").is_file()


def test_the_user_of_the_units_is_made() -> None:
    (line,) = [
        line
        for line in (FOLDER / "amzmq.sysusers.conf").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert line.split()[:2] == ["u", "amzmq"]
