"""The modules that are tried, and the tests that are to see mistakes in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Group:
    """Modules that the same tests look after.

    Attributes:
        modules: Below `amzmq`.
        tests: Files and folders.
        slowest_s: Seconds above which a test is left out.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    slowest_s: float = 4.0


AT_IMPORT = {("wire/forms.py", "Form.__init__"), ("wire/types.py", "TypeRegistry.__init__")}
"""Functions that do their work when their module is imported: a fork is too late for them."""

GROUPS = (
    Group(
        (
            "wire/writer.py", "wire/reader.py", "wire/runs.py", "wire/journal.py", "wire/feed.py",
            "wire/view.py", "wire/checksum.py", "wire/control_frames.py", "wire/forms.py",
            "wire/codec.py", "wire/types.py", "wire/schema.py", "wire/blobs.py",
            "wire/blobsource.py", "wire/compression.py",
        ),
        ("tests/wire",),
        0.7,
    ),
    Group(
        ("rpc/replica/clock.py", "rpc/replica/follower.py"),
        ("tests/rpc/replica/test_clock.py", "tests/rpc/replica/test_parity.py",
         "tests/rpc/replica/test_follower.py", "tests/rpc/replica/test_follower_gaps.py"),
    ),
    Group(("rpc/client/calls.py",), ("tests/rpc/client/test_requests.py",)),
    Group(
        ("rpc/server/server.py", "rpc/server/sync_desk.py", "rpc/server/held_rights.py",
         "rpc/server/entitlement.py", "rpc/server/rights.py"),
        ("tests/rpc/server/test_server.py", "tests/rpc/server/test_server_mutations.py",
         "tests/rpc/server/test_sync_desk.py", "tests/rpc/server/test_desk_pace.py",
         "tests/rpc/server/test_held_rights.py", "tests/rpc/server/test_policy_applied.py",
         "tests/rpc/server/test_rights.py"),
    ),
)  # fmt: skip
