"""Which packages are optional, and that all others that are imported are in requirements.txt."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime import stage
from transfer.runtime.extras import EXTRAS, explain_missing
from transfer.runtime.pins import read_locks

OWN = {"stages", "transfer"}
# The user installs them: backends (docs/reproducibility.md).
UNLOCKED = {"jax", "torch"}


def imported(path: Path) -> set[str]:
    """The top-level modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


def test_everything_that_the_product_imports_is_in_the_base_or_in_the_extra_that_is_named():
    base = read_locks([REPOSITORY / "requirements.txt"])
    modules = {
        module
        for folder in ("stages", "transfer")
        for path in (REPOSITORY / folder).rglob("*.py")
        for module in imported(path)
    }
    others = modules - OWN - UNLOCKED - sys.stdlib_module_names
    assert others > {"numpy", "optuna", "flask"}
    distributions = packages_distributions()
    outside = {
        module
        for module in others
        if not any(
            re.sub(r"[-_.]+", "-", name).lower() in base for name in distributions.get(module, [])
        )
    }
    assert outside <= EXTRAS.keys()


@pytest.mark.parametrize(("module", "extra"), EXTRAS.items())
def test_the_lock_of_the_extra_has_the_package_and_the_base_has_not(module, extra):
    package = module.replace("_", "-")
    assert package in read_locks([REPOSITORY / f"requirements/{extra}.txt"])
    assert package not in read_locks([REPOSITORY / "requirements.txt"])


def test_the_sentence_names_the_package_and_the_target():
    missing = ModuleNotFoundError("No module", name="onnx.helper")
    assert (
        explain_missing(missing) == "onnx is not installed; `make .venv/extra-export` installs it"
    )
    assert explain_missing(ModuleNotFoundError("No module", name="transfer.nothing")) is None
    assert explain_missing(ModuleNotFoundError("No module")) is None


def test_a_stage_without_its_extra_ends_in_that_sentence(project, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/export.py"])
    monkeypatch.setitem(sys.modules, "tf2onnx", None)

    def main() -> None:
        import tf2onnx  # noqa: F401

    with pytest.raises(SystemExit, match=r"^export: tf2onnx is not installed; `make \.venv/ex"):
        stage.run_stage(main)


def test_a_stage_that_lacks_a_module_of_its_own_is_a_bug(project, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/export.py"])
    monkeypatch.setitem(sys.modules, "transfer.export.export", None)

    def main() -> None:
        import transfer.export.export  # noqa: F401

    with pytest.raises(ModuleNotFoundError):
        stage.run_stage(main)
