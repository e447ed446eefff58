from __future__ import annotations

from pathlib import Path

import pytest

from amzmq.cli import bench
from tests.cli.command import amzmq, invoke, one_line


def test_a_checkout_runs_its_own_benchmarks_from_any_folder(tmp_path: Path) -> None:
    done = amzmq("bench", "no-such-benchmark", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "python -m bench: error" in done.stderr
    assert "fanout" in done.stderr


def test_without_a_checkout_one_line_says_where_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    done = invoke("bench", "rtt")
    assert done.returncode == 2
    assert "clone the repository" in one_line(done.stderr)
