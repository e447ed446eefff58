"""Whether a soak was good: no promise broken, nothing left, memory and descriptors flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from tests.soak.gauge import MB, Sample, Slope, second_half, slope
from tests.soak.run import Record

MEMORY_BOUND = 4 * MB
"""Bytes by which a process may grow from the middle to the end."""

FDS_BOUND = 2.0
"""Descriptors likewise."""

WARM_S = 300.0
"""Memory is judged if the second half is this long: before, journals and buffers still fill."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a soak.

    Attributes:
        memory, fds: The slopes of the second half, of the source and of the relay.
        flaws: In words; none if all is well.
    """

    memory: dict[str, Slope]
    fds: dict[str, Slope]
    flaws: list[str]


def judge(record: Record) -> Verdict:
    """Look at all that a record says."""
    memory, fds = {}, {}
    flaws = [*record.errors, *record.texts, *record.left]
    if record.broken > len(record.texts):
        flaws.append(f"{record.broken - len(record.texts)} more promises were broken")
    if record.spoiled:
        flaws.append(f"{record.spoiled} blobs came, but not as they were sent")
    if record.elapsed_s < record.asked_s and not record.errors:
        flaws.append(f"it ended after {record.elapsed_s:.0f} s")
    for name, samples in (("source", record.source), ("relay", record.relay)):
        late = second_half(samples, record.elapsed_s)
        memory[name] = slope([(sample.at_s, sample.rss) for sample in late])
        fds[name] = slope([(sample.at_s, sample.fds) for sample in late])
        flaws += _growth(name, late, memory[name], fds[name])
    return Verdict(memory, fds, flaws)


def _growth(name: str, late: Sequence[Sample], memory: Slope, fds: Slope) -> list[str]:
    flaws = []
    if len(late) < 3:
        flaws.append(f"{name}: only {len(late)} samples in the second half; let it run longer")
    if memory.seconds >= WARM_S and memory.least_growth > MEMORY_BOUND:
        flaws.append(f"{name}: grew by {memory.least_growth / MB:.1f} MiB in the second half")
    if fds.least_growth > FDS_BOUND:
        flaws.append(f"{name}: {fds.least_growth:.0f} more descriptors at the end")
    return flaws


def as_json(record: Record) -> dict[str, object]:
    """A record with its verdict, for a file."""
    plain = {field.name: getattr(record, field.name) for field in fields(record)}
    for name in ("source", "relay"):
        plain[name] = [asdict(sample) for sample in plain[name]]
    return plain | {"verdict": asdict(judge(record))}
