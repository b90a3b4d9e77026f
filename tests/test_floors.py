"""The floors: a package imports from those below it and from no other,
and every package stands on one."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.helpers.tiny_sources import REPOSITORY

CONTRACT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]
FLOORS = [
    [name.strip() for name in layer.split("|")] for layer in CONTRACT["contracts"][0]["layers"]
]


def lint_imports(project: Path) -> subprocess.CompletedProcess:
    program = shutil.which(
        "lint-imports", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert program, "import-linter is not installed: make .venv/extra-lint"
    return subprocess.run(
        [program, "--no-cache", "pyproject.toml"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_package_stands_on_one_floor():
    packages = [
        f"transfer.{path.parent.name}" for path in (REPOSITORY / "transfer").glob("*/__init__.py")
    ]
    assert sorted(name for floor in FLOORS for name in floor) == sorted([*packages, "stages"])


def test_packages_import_from_floors_below_only():
    finished = lint_imports(REPOSITORY)
    assert finished.returncode == 0, finished.stdout
    assert "1 kept, 0 broken" in finished.stdout


def test_an_import_from_above_is_noticed_inside_of_functions_too(tmp_path):
    for package in {name.replace(".", "/") for floor in FLOORS for name in floor} | {"transfer"}:
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    assert lint_imports(tmp_path).returncode == 0
    (tmp_path / "transfer/runtime/stage.py").write_text("def run():\n    import transfer.storage\n")
    finished = lint_imports(tmp_path)
    assert finished.returncode == 1
    assert "transfer.runtime.stage -> transfer.storage (l.2)" in finished.stdout


def test_the_picture_in_contributing_is_the_contract():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = re.search(r"<!-- floors -->\n```text\n(.*?)```", text, re.DOTALL)[1]
    shown = [line.split("  ")[0].split(" | ") for line in picture.splitlines()]
    assert shown == [[name.removeprefix("transfer.") for name in floor] for floor in FLOORS]
