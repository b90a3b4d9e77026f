"""A plugin of pytest's for CI: prints each skipped test with its reason, and fails where a reason
is not in allowed_skips.txt.

python -m pytest -p tests.helpers.skips
"""

from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        reporter
        and session.exitstatus == pytest.ExitCode.OK
        and any(reason not in allowed() for _, reason in skipped(reporter))
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter) -> None:
    found = skipped(terminalreporter)
    if found:
        terminalreporter.section("skipped")
    for test, reason in found:
        verdict = "allowed" if reason in allowed() else f"NOT ALLOWED by {ALLOWED.name}"
        terminalreporter.write_line(f"{test}: {reason} ({verdict})")


def skipped(reporter) -> list[tuple[str, str]]:
    """Name and reason of each skipped test, or of a file that was skipped as a whole."""
    reports = reporter.stats.get("skipped", [])
    return sorted(
        {(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")) for report in reports}
    )


def allowed() -> set[str]:
    lines = ALLOWED.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}
