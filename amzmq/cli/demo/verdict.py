"""The verdict: does every follower have exactly what the source said?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from amzmq.cli.demo.tally import Latencies


@dataclass(frozen=True)
class Published:
    """What the source did.

    Attributes:
        clock: Its ticks at the end, in index order.
        payloads: How many it sent.
        digest: Of them, see `Tally`.
        files: How many files it read and hashed.
        unreadable: How many it could not read.
        updates: Diffs of its clock that it sent.
        mutations: How many its machine processed, those of the followers included.
        seconds: From the first file until all followers were level.
    """

    clock: tuple[int, ...]
    payloads: int
    digest: str
    files: int
    unreadable: int
    updates: int
    mutations: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """What one follower has in the end.

    Attributes:
        name: Its name.
        clock: The replica's ticks.
        payloads: How many came.
        digest: Of them, see `Tally`.
        latency: Buckets of `Latencies`.
        metrics: Of its `Client`.
    """

    name: str
    clock: tuple[int, ...]
    payloads: int
    digest: str
    latency: Mapping[int, int]
    metrics: Mapping[str, int]

    @classmethod
    def from_json(cls, line: bytes) -> Report:
        """Read what `follower` prints.

        Raises:
            ValueError: It is no JSON, or a number in it is none.
            KeyError: A field is missing.
            TypeError: A field is something else.
        """
        fields = json.loads(line)
        return cls(
            str(fields["name"]),
            tuple(int(tick) for tick in fields["clock"]),
            int(fields["payloads"]),
            str(fields["digest"]),
            {int(bucket): int(count) for bucket, count in fields["latency"]},
            {str(name): int(count) for name, count in fields["metrics"].items()},
        )


@dataclass(frozen=True)
class Verdict:
    """The outcome of a demo.

    Attributes:
        figures: What ``--json`` prints.
        problems: What is not as it should be, a sentence each.
        unreadable: Files that could not be read; no problem, a directory may have some.
    """

    figures: Mapping[str, object]
    problems: tuple[str, ...]
    unreadable: int = 0

    @property
    def good(self) -> bool:
        """Whether everything is as it should be."""
        return not self.problems

    def text(self) -> str:
        """The verdict for people."""
        figures = self.figures
        latency = figures["latency_ms"]
        assert isinstance(latency, dict)
        lines = [
            f"{figures['files']} files read in {figures['seconds']} s; "
            f"{figures['mutations']} mutations became {figures['updates_published']} updates "
            f"and {figures['payloads_published']} payloads",
            f"{figures['converged']} of {figures['subscribers']} followers equal the source; "
            f"payloads lost: {figures['payloads_lost']}, gaps: {figures['gaps']}, "
            f"resyncs: {figures['resyncs']}",
        ]
        if latency["p50"] is not None:
            lines.append(
                f"from source to follower: p50 {latency['p50']} ms, p99 {latency['p99']} ms"
            )
        if self.unreadable:
            lines.append(f"{self.unreadable} files or folders could not be read")
        lines += [f"wrong: {problem}" for problem in self.problems]
        lines.append("verdict: good" if self.good else "verdict: BAD")
        return "\n".join(lines)


def judge(
    published: Published,
    reports: Mapping[str, Report | None],
    trouble: tuple[str, ...] = (),
) -> Verdict:
    """Compare every follower with the source.

    Args:
        published: What the source did.
        reports: What each follower has; None for one that gave no report.
        trouble: What went wrong on the way.
    """
    wrong = {name: _difference(published, report) for name, report in reports.items()}
    problems = [f"{name} {text}" for name, text in wrong.items() if text]
    given = [report for report in reports.values() if report is not None]
    received = [0 if report is None else report.payloads for report in reports.values()]
    applied = [_count(report, "updates") for report in reports.values()]
    latencies = Latencies.merged(report.latency for report in given)
    figures: dict[str, object] = {
        "subscribers": len(reports),
        "converged": sum(not text for text in wrong.values()),
        "files": published.files,
        "payloads_published": published.payloads,
        "payloads_received_min": min(received, default=0),
        "payloads_lost": sum(max(0, published.payloads - count) for count in received),
        "updates_published": published.updates,
        "updates_applied_min": min(applied, default=0),
        "gaps": sum(_count(report, "gaps") for report in given),
        "resyncs": sum(_count(report, "resyncs") for report in given),
        "mutations": published.mutations,
        "latency_ms": {"p50": latencies.percentile_ms(50), "p99": latencies.percentile_ms(99)},
        "seconds": round(published.seconds, 3),
    }
    if published.files != published.payloads:
        problems.append(
            f"the source sent {published.payloads} payloads for {published.files} files"
        )
    return Verdict(figures, (*trouble, *problems), published.unreadable)


def _difference(published: Published, report: Report | None) -> str:
    """In what a follower differs from the source; "" when it is level."""
    if report is None:
        return "gave no report"
    if report.payloads != published.payloads:
        return f"has {report.payloads} payloads of {published.payloads}"
    if report.digest != published.digest:
        return "has other payloads, or another order, than the source sent"
    if report.clock != published.clock:
        return f"has clock {list(report.clock)}, the source {list(published.clock)}"
    return ""


def _count(report: Report | None, name: str) -> int:
    return 0 if report is None else report.metrics.get(name, 0)
