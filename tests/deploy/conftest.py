from __future__ import annotations

import pytest

from tests.deploy.tools import MISSING


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for tool, instead in sorted(MISSING.items()):
        terminalreporter.write_line(f"tests/deploy: no {tool} here; {instead}")
