"""`python -m bench sidecar` measures what it says."""

from __future__ import annotations

from bench import sidecar


def test_rest_and_death_are_measured() -> None:
    report = sidecar.run(runs=1, quick=True)
    figures = {(row.case.partition(":")[0], row.metric): row.median for row in report.rows}
    assert figures.keys() == {
        ("at rest", "CPU"),
        ("at rest", "resident memory"),
        ("kill -9, 50 changes a second", "until the last one follows again"),
    }
    assert all(value > 0 for value in figures.values())
