"""dvc.yaml cannot lie: names, commands, code dependencies and parameters
are what the stages' code says.

That the data dependencies and outputs are true too is shown by running each stage in a folder that
holds its dependencies and nothing else (test_pipeline.py).
"""

import ast
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from transfer.runtime import pins
from transfer.runtime.dvc_files import packages_of, params_of
from transfer.runtime.resource_params import ResourceParams

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
CHANGES_NO_BYTE = "transfer/cluster"  # another engine gives the same bytes, so no stage lists it
DECIDES_NO_BYTE = {"resources"}  # sections of params.yaml that no stage may list
COMMANDS_ONLY = ("transfer/commands", "transfer/demo", "transfer/imagenet", "transfer/inference")
OF_ARRAYS = {
    "transfer/storage/array_writer.py": "arrays.shard_rows",
    "transfer/training/batches.py": "arrays.window",
}  # by the module that reads it
DISTRIBUTIONS = packages_distributions()
# Packages that a stage needs without importing them, by the one that it imports.
BEHIND = {"keras": {"tensorflow"}, "matplotlib": {"kiwisolver"}, "tf2onnx": {"protobuf"}}
# Imported by a module behind these stages, but no byte of theirs is decided by it.
DECIDES_NOTHING = {
    "ai-edge-litert": {"convert"},  # checks the converted network
    # weights passes tensors on as they are; convert draws the picture of its check
    "numpy": {"weights", "convert"},
    "pandas": {"decode", "extract"},  # reads the manifest
    "protobuf": {"weights"},  # reads tensors as they are stored
    "pyarrow": {*STAGES} - {"split"},  # reads the manifest, which split writes
    # reads parameters; only report writes with it, the head of the model card
    "pyyaml": {*STAGES} - {"report"},
    "scipy": {
        "train_head",
        "train_augmented",
        "finetune",
        "export",
    },  # classifiers/saved.py makes probabilities, which these do not ask for
}


def modules_behind(path: str) -> set[str]:
    """The project's modules that a file imports, itself included, as paths, and what
    `transfer/__init__.py` imports in front of them."""
    found, pending = (
        set(),
        [
            path,
            *(
                f"{name.replace('.', '/')}.py"
                for name in imported_by(ROOT / "transfer/__init__.py")
            ),
        ],
    )
    pending = [path for path in pending if (ROOT / path).exists()]
    while pending:
        module = pending.pop()
        found.add(module)
        paths = (name.replace(".", "/") + ".py" for name in imported_by(ROOT / module))
        pending += [path for path in paths if (ROOT / path).exists() and path not in found]
    return found


def imported_by(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def folders_behind(path: str) -> set[str]:
    """The packages of transfer/ that those modules lie in."""
    return {
        "/".join(module.split("/")[:2])
        for module in modules_behind(path)
        if module.startswith("transfer/")
    }


def parameters_read(path: str) -> set[str]:
    """Sections and keys that a stage's calls of load_params(kind, section) and load_param(kind,
    key) name; all for read_params().

    Without `resources`: an engine that was changed would otherwise have everything run again, to
    the same end. Of `arrays` what the modules behind the stage read and decides bytes; its format
    is in the names of files.
    """
    of_arrays = {key for module, key in OF_ARRAYS.items() if module in modules_behind(path)}
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    if any(getattr(call.func, "id", "") == "read_params" for call in calls):
        return {*PARAMS} - DECIDES_NO_BYTE
    read = of_arrays | {
        call.args[1].value
        for call in calls
        if getattr(call.func, "id", "") in ("load_params", "load_param")
    }
    return read - DECIDES_NO_BYTE


def test_every_stage_is_a_file_and_every_file_a_stage():
    assert {path.name for path in (ROOT / "stages").glob("*.py")} - {"__init__.py"} == {
        f"{name}.py" for name in STAGES
    }


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_is_made_of_what_a_command_alone_needs(name):
    assert not [path for path in STAGES[name]["deps"] if path.startswith(COMMANDS_ONLY)]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_its_file_and_says_what_it_is_for(name):
    assert STAGES[name]["cmd"] == f"python -m stages.{name}"
    assert STAGES[name]["desc"]


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_stages_file_and_the_packages_that_it_imports(name):
    """Both ways: what a stage imports, in functions too, lies in a folder that it lists, and each
    folder has something that it imports."""
    listed = {path for path in STAGES[name]["deps"] if path.startswith(("stages/", "transfer/"))}
    assert listed == {f"stages/{name}.py", *folders_behind(f"stages/{name}.py")} - {CHANGES_NO_BYTE}


def test_a_module_lies_in_a_package_and_never_beside_them():
    """What lies at the top of transfer/ would be in no folder that a stage can list."""
    assert {path.name for path in (ROOT / "transfer").glob("*.py")} == {
        "__init__.py",
        "__main__.py",
    }


def test_the_initialisers_of_packages_do_nothing():
    """That of `transfer` itself is listed by no stage; what it calls is in transfer/runtime, which
    all list (test_instructions.py)."""
    for file in (ROOT / "transfer").glob("*/__init__.py"):
        assert len(ast.parse(file.read_text(encoding="utf-8")).body) == 1, file


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_what_the_stage_reads(name):
    assert set(params_of(STAGES[name])) == parameters_read(f"stages/{name}.py")


@pytest.mark.parametrize("name", STAGES)
def test_pinned_packages_are_those_that_the_stage_imports_and_that_decide_its_bytes(
    name, monkeypatch
):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    modules = {
        module.split(".")[0]
        for path in modules_behind(f"stages/{name}.py")
        for module in imported_by(ROOT / path)
        if module
    }
    imported = {package.lower() for module in modules for package in DISTRIBUTIONS.get(module, ())}
    imported |= {behind for package in imported for behind in BEHIND.get(package, ())}
    imported |= (
        {"h5py"} if any(str(out).endswith(".weights.h5") for out in STAGES[name]["outs"]) else set()
    )
    passed_over = {package for package, stages in DECIDES_NOTHING.items() if name in stages}
    assert passed_over - {"pyarrow"} <= imported
    listed = packages_of(STAGES[name])
    assert listed == sorted(listed)
    assert {*listed} == imported & {*pins.DECIDE_BYTES} - passed_over


def test_every_package_that_decides_bytes_is_pinned_for_some_stage(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert {package for stage in STAGES.values() for package in packages_of(stage)} == {
        *pins.DECIDE_BYTES
    }
    assert [*pins.DECIDE_BYTES] == sorted({*pins.DECIDE_BYTES})
    assert {*pins.BACKENDS["tensorflow"]} <= {*pins.DECIDE_BYTES}


def test_every_section_of_params_is_some_stages_but_for_what_decides_no_byte():
    listed = {key.split(".")[0] for stage in STAGES.values() for key in params_of(stage)}
    assert listed == {*PARAMS} - DECIDES_NO_BYTE
    assert {*ResourceParams.model_fields} == {*PARAMS["resources"]}


def test_only_evaluate_reads_the_test_split_and_export_its_pixels():
    """`decode` makes its pixels and `extract` its features; `export` holds files against a model
    that was chosen without them."""
    outs = [
        out for stage in STAGES.values() for out in stage.get("outs", []) if isinstance(out, str)
    ]
    made = [out for out in outs if Path(out).stem.startswith("test")]
    readers = {
        path: [name for name, stage in STAGES.items() if path in stage["deps"]] for path in made
    }
    assert readers == {
        "data/images/test.${arrays.format}": ["extract", "evaluate", "export"],
        "data/features/test.${arrays.format}": ["evaluate"],
        "data/features/test_cut.${arrays.format}": ["evaluate"],
    }


NAME_THE_TEST_SPLIT = {
    "evaluate.py": "scores it",
    "audit.py": "compares its images' perceptual hashes, which split wrote, with the others'",
    "export.py": "holds exported files against their model, which was chosen on validation",
    "model_card.py": "says that the results are of the test split",
    "manifest.py": "lists the splits",
    "layout.py": "knows folders of that name",
}


def test_only_evaluate_chooses_the_test_split_in_its_code():
    """The stages that make the arrays of all splits go through SPLITS and choose none."""
    naming = set()
    for file in [*(ROOT / "stages").glob("*.py"), *(ROOT / "transfer").rglob("*.py")]:
        words = {
            node.value
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant)
        }
        if words & {"test", "test.npy", "test_cut.npy", "data/images/test.npy"}:
            naming.add(file.name)
    assert naming == set(NAME_THE_TEST_SPLIT)


def test_only_what_takes_seconds_has_outputs_outside_the_cache():
    """Uncached outputs, which git has, keep a stage out of the shared run-cache: a clone runs it
    again, so expensive stages have none."""
    uncached = {
        name
        for name, stage in STAGES.items()
        for key in ("outs", "metrics", "plots")
        for out in stage.get(key, [])
        if isinstance(out, dict)
    }
    assert uncached == {"evaluate", "audit", "report"}
