"""What came of a soak, as a part of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.soak.gauge import MB
from tests.soak.verdict import FDS_BOUND, MEMORY_BOUND

HEAD = f"""
## Soak

A source and a relay live on while clients, subscribers and takers of blobs come and go, callers
call, and one fault of the lab after the other is drawn at random, with the meters between the
source and everybody else, the relay too. Every round ends at rest: the ten judges look at all that
happened in it, and memory and descriptors are read. In the first quarter the source and the relay
are killed and restarted as well; after that they have to last.

Memory is what is in use: malloc keeps what a burst needed, in pieces between longer-lived blocks,
and is told to give it back (`malloc_trim`) before each reading; how much that was is told besides.

It fails if a promise was broken, anything did not heal or was left behind, or if from the middle to
the end the source or the relay grew by more than {MEMORY_BOUND // MB} MiB or
{FDS_BOUND:.0f} descriptors: by least squares, at the lower end of the 95 % confidence interval.
"""


def section(found: Mapping[str, Any]) -> str:
    """The part on the soak."""
    blobs, faults = found["blobs"], found["faults"]
    flaws = found["verdict"]["flaws"]
    whole, all_blobs = blobs.get("whole", 0), sum(blobs.values())
    ends = ", ".join(f"{count} {name}" for name, count in blobs.items() if name != "whole")
    others = f" ({ends})" if ends else ""
    facts = [
        ("time", f"{found['elapsed_s'] / 60:.1f} minutes, seed {found['seed']}"),
        ("rounds", f"{found['rounds']}"),
        ("faults inflicted", f"{sum(faults.values())} of {len(faults)} kinds, all healed"),
        ("guests that came and went", f"{found['guests']:,}"),
        ("blobs", f"{whole} of {all_blobs} whole, {found['spoiled']} spoiled{others}"),
        ("happenings judged", f"{found['happenings']:,}"),
        ("promises broken", f"{found['broken']}"),
        ("left behind", f"{len(found['left'])}"),
        ("CPU of all processes", f"{found['cpu_s'] / max(found['elapsed_s'], 1):.0%} of a core"),
    ]
    if flaws:
        facts[2] = ("faults inflicted", f"{sum(faults.values())} of {len(faults)} kinds")
    for name in ("source", "relay"):
        facts += _held(name, found)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    text = f"{HEAD}\n| | |\n| --- | --- |\n{rows}\n"
    if flaws:
        text += "\n### What is wrong in the soak\n\n" + "".join(f"- {flaw}\n" for flaw in flaws)
    return text


def _held(name: str, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    samples, verdict = found[name], found["verdict"]
    if not samples:
        return []
    memory, fds = verdict["memory"][name], verdict["fds"][name]
    peak = max(sample["rss"] for sample in samples)
    kept = max(sample["kept"] for sample in samples)
    return [
        (
            f"{name}: memory",
            f"{samples[-1]['rss'] / MB:.1f} MiB at the end, {peak / MB:.1f} at most; second half "
            f"{memory['per_hour'] / MB:+.2f} ± {memory['give'] / MB:.2f} MiB an hour "
            f"({memory['samples']} samples); malloc kept up to {kept / MB:.1f} MiB besides",
        ),
        (
            f"{name}: descriptors",
            f"{samples[-1]['fds']} at the end; {fds['per_hour']:+.2f} ± {fds['give']:.2f} an hour",
        ),
    ]
