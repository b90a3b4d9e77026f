"""Benchmarks fit the pipeline as it is: nothing runs most of them between two measurements."""

import subprocess
import sys

from tests.helpers.tiny_sources import REPOSITORY

# Fails at an import of a name that the pipeline no longer has, in functions too, and prints each
# call of such a name with arguments that its signature does not take.
CHECK = """
import ast, importlib, inspect, sys
from pathlib import Path

for file in sys.argv[1:]:
    importlib.import_module(file.removesuffix(".py").replace("/", "."))
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    own = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("stages", "transfer"):
            for alias in node.names:
                exec(f"from {node.module} import {alias.name}", found := {})
                own[alias.asname or alias.name] = found[alias.name]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func
        owner = own.get(getattr(getattr(name, "value", None), "id", ""))
        if inspect.ismodule(owner):
            called = getattr(owner, name.attr)
        else:
            called = own.get(getattr(name, "id", ""))
        is_spread = any(isinstance(each, ast.Starred) for each in node.args)
        if called is None or is_spread or any(each.arg is None for each in node.keywords):
            continue
        try:
            signature = inspect.signature(called)
        except ValueError:  # an exception has none
            continue
        try:
            signature.bind(*node.args, **{each.arg: None for each in node.keywords})
        except TypeError as error:
            print(f"{file}:{node.lineno}: {ast.unparse(name)}: {error}")
"""


def test_all_benchmarks_call_what_there_is():
    """In a process of its own, since some choose a backend as they are imported."""
    files = [
        path.relative_to(REPOSITORY).as_posix()
        for path in sorted((REPOSITORY / "benchmarks").rglob("*.py"))
    ]
    assert len(files) > 15
    finished = subprocess.run(
        [sys.executable, "-c", CHECK, *files], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (finished.stdout, finished.returncode) == ("", 0), finished.stderr
