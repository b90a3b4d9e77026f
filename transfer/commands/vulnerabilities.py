"""`make vulnerabilities`: known vulnerabilities of everything that requirements.txt, requirements/
and tools/ pin, by pip-audit.

The exit code is 0 if none is known, 1 if some are, and 2 if the data could not be read, which says
nothing about vulnerabilities.
"""

import json
import subprocess
import sys
from pathlib import Path

from transfer.runtime.program import command_parser

DEVELOPMENT = {"backends.txt", "lint.txt", "tests.txt", "vulnerabilities.txt"}
REPEATED = {"worker.txt"}  # has nothing that the others have not
# what is installed to use the project
LOCKS = [
    Path("requirements.txt"),
    Path("tools/uv.txt"),
    *sorted(
        path
        for path in Path("requirements").glob("*.txt")
        if path.name not in DEVELOPMENT | REPEATED
    ),
]


def main(argv: list[str]) -> int:
    """Let pip-audit look up all locks, and print what it finds; the exit code is 0, 1 or 2."""
    command_parser("vulnerabilities", __doc__).parse_args(argv)
    command = [sys.executable, "-m", "pip_audit"]
    command += ["--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    command += [f"--requirement={lock}" for lock in LOCKS]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603, no shell
    if not finished.stdout.startswith("{"):
        said = finished.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        print(f"vulnerabilities: nothing was audited, pip-audit failed: {said[0]}")
        return 2
    lines, status = report(json.loads(finished.stdout)["dependencies"])
    print("\n".join(lines))
    return status


def report(dependencies: list[dict]) -> tuple[list[str], int]:
    """Lines for a person, and the exit status.

    Args:
        dependencies: from pip-audit's JSON: name with version and vulns, or with skip_reason.
    """
    audited = [dependency for dependency in dependencies if "skip_reason" not in dependency]
    lines = [
        f"{dependency['name']} {dependency['version']}: {found['id']}, fixed in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for dependency in audited
        for found in dependency["vulns"]
    ]
    status = 1 if lines else 0
    lines.append(
        f"vulnerabilities: {len(audited)} of {len(dependencies)} packages audited, {len(lines)} "
        "known vulnerabilities in these"
    )
    if skipped := len(dependencies) - len(audited):
        lines.append(
            f"vulnerabilities: {skipped} packages not audited, because their data could not be "
            "reached"
        )
        status = status or 2
    return lines, status
