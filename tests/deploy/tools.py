"""Tools of others that look at our files, where they are installed; the summary names the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TIMEOUT_S = 60.0
MISSING: dict[str, str] = {}


def find(tool: str, instead: str) -> bool:
    """Whether a tool is there; if not, what is looked at instead is told in the summary."""
    if shutil.which(tool) is None:
        MISSING[tool] = instead
        return False
    return True


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run it with nothing of this user's: no configuration, no cluster."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": os.devnull}
    return subprocess.run(
        command,
        cwd=folder,
        env={**env, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
