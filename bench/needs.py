"""What a peer needs that may not be here: then it is named as missing, not left out in silence."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Needs:
    """What has to be installed.

    Attributes:
        packages: Names to import; they come with the extra `bench`.
        programs: Names in the PATH; they come with the system.
    """

    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def lacking(self) -> str:
        """Why it cannot run here; empty if it can."""
        reasons = [
            f"the package {name} is not installed: pip install 'amzmq[bench]'"
            for name in self.packages
            if importlib.util.find_spec(name) is None
        ]
        reasons += [
            f"the program {name} is not installed: apt-get install {name}"
            for name in self.programs
            if shutil.which(name) is None
        ]
        return "; ".join(reasons)


def sort_out(needs: Mapping[str, Needs]) -> dict[str, str]:
    """Which systems are missing, and why."""
    return {system: why for system, need in needs.items() if (why := need.lacking())}
