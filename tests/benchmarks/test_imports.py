"""Every benchmark can be imported: what it uses of the pipeline is still there."""

import subprocess
import sys

from tests.helpers.tiny_sources import REPOSITORY


def test_all_benchmarks_import_what_there_is():
    """In a process of its own, since some choose a backend as they are imported."""
    modules = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in sorted((REPOSITORY / "benchmarks").rglob("*.py"))
    ]
    assert len(modules) > 15
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    finished = subprocess.run(
        [sys.executable, "-c", code, *modules], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
