"""dvc.yaml cannot lie: names, commands, code dependencies and parameters
are what the stages' code says.

That the data dependencies and outputs are true too is shown by running each stage in a folder that
holds its dependencies and nothing else (test_pipeline.py).
"""

import ast
import json
import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from transfer.classifiers.names import MODEL_NAMES
from transfer.runtime import pins
from transfer.runtime.dvc_files import packages_of, params_of
from transfer.runtime.resource_params import ResourceParams

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
ON_REQUEST = yaml.safe_load((ROOT / "deploy/dvc.yaml").read_text(encoding="utf-8"))
STAGES = DEFAULT["stages"] | ON_REQUEST["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
CHANGES_NO_BYTE = "transfer/cluster"  # another engine gives the same bytes, so no stage lists it
DECIDES_NO_BYTE = {"resources"}  # sections of params.yaml that no stage may list
COMMANDS_ONLY = ("transfer/commands", "transfer/demo", "transfer/imagenet", "transfer/inference")
LOADERS = ("load_params", "load_param")
DISTRIBUTIONS = packages_distributions()
# Packages that a stage needs without importing them, by the one that it imports.
BEHIND = {"keras": {"tensorflow"}, "matplotlib": {"kiwisolver"}, "tf2onnx": {"protobuf"}}
# Needed by these stages behind a package that others need without it.
BEHIND_SOME = {"scipy": {"train_probe"}}  # the minimizer of scikit-learn's logistic regression
# Imported by a module behind these stages, but no byte of theirs is decided by it.
DECIDES_NOTHING = {
    # checks what convert and the trainings convert, after the model is written
    "ai-edge-litert": {"convert", "train_scratch", "train_head", "train_augmented", "finetune"},
    # weights passes tensors on as they are; convert draws the picture of its check
    "numpy": {"weights", "convert"},
    "pandas": {"decode", "extract"},  # reads the manifest
    "scikit-learn": {"export"},  # fits the probe
    "h5py": {"evaluate", "export"},  # reads the baselines as they are stored
    "keras-hub": {"train_scratch", "train_head", "train_augmented"},  # reads fine-tuned models
    "protobuf": {"weights"},  # reads tensors as they are stored
    "pyarrow": {*STAGES} - {"split"},  # reads the manifest, which split writes
    # reads parameters; only report writes with it, the head of the model card
    "pyyaml": {*STAGES} - {"report"},
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
    the same end. Of `arrays` only the keys that are looked at, `arrays.KEY`.
    """
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if any(getattr(call.func, "id", "") == "read_params" for call in calls):
        return {*PARAMS} - DECIDES_NO_BYTE
    read = {call.args[1].value for call in calls if getattr(call.func, "id", "") in LOADERS}
    of_arrays = {
        f"arrays.{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "arrays"
    }
    return (read - {"arrays"} | of_arrays) - DECIDES_NO_BYTE


def test_every_stage_is_a_file_and_every_file_a_stage():
    assert {path.name for path in (ROOT / "stages").glob("*.py")} - {"__init__.py"} == {
        f"{name}.py" for name in STAGES
    }


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_is_made_of_what_a_command_alone_needs(name):
    assert not [path for path in STAGES[name]["deps"] if path.startswith(COMMANDS_ONLY)]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_its_file_and_says_what_it_is_for(name):
    item = " ${item.model}" if "matrix" in STAGES[name] else ""
    assert STAGES[name]["cmd"] == f"python -m stages.{name}{item}"
    assert STAGES[name]["desc"]


def test_the_models_of_the_matrix_are_those_of_the_code_and_each_is_some_trainings():
    """The two places where the list of models stands."""
    assert STAGES["evaluate"]["matrix"] == {"model": list(MODEL_NAMES)}
    outs = {str(out) for stage in STAGES.values() for out in stage["outs"]}
    assert {f"models/{name}" for name in MODEL_NAMES} == {
        out for out in outs if out.startswith("models/")
    }


def test_no_plot_names_a_model():
    """Neither their files nor the templates do, so that another model needs nothing there."""
    texts = [json.dumps(DEFAULT["plots"])]
    texts += [file.read_text(encoding="utf-8") for file in (ROOT / ".dvc/plots").glob("*.json")]
    assert len(texts) == 8
    for text in texts:
        assert not re.search(rf"\b({'|'.join(MODEL_NAMES)})\b", text), text


def test_what_releases_a_model_is_on_request_and_nothing_else_depends_on_it():
    """`dvc repro` and `dvc exp run` end with the report."""
    outs = [out for stage in ON_REQUEST["stages"].values() for out in stage["outs"]]
    # in the cache, `dvc pull` and `dvc exp apply` would fail wherever nobody has exported
    assert outs == [{"deploy/export": {"cache": False}}]
    assert ON_REQUEST["stages"]["export"]["wdir"] == ".."
    assert ON_REQUEST["artifacts"]["classifier"]["path"] == "classifier"
    for stage in DEFAULT["stages"].values():
        assert not any(dep.startswith("deploy") for dep in stage["deps"])


def test_dvc_yaml_is_short_enough_to_be_a_table_of_contents():
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) < 260


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_stages_file_and_the_packages_that_it_imports(name):
    """Both ways: what a stage imports, in functions too, lies in a folder that it lists, and each
    folder has something that it imports."""
    listed = {path for path in STAGES[name]["deps"] if path.startswith(("stages/", "transfer/"))}
    assert listed == {f"stages/{name}.py", *folders_behind(f"stages/{name}.py")} - {CHANGES_NO_BYTE}


def test_every_module_is_in_a_package():
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


# They put together what a command answers with, and other programs call them in a project's folder.
ENTRY_POINTS = {"load_current", "load_predictor", "load_service", "_load"}
# They copy or hash params.yaml, or fill dvc.yaml from it; no value of it steers what they do.
WHOLE_FILE = {"prepare", "input_fingerprint", "read_stage"}


def test_only_main_reads_parameters():
    """In stages and in transfer/: a function below it is told what it needs. `load` of a command is
    its main function's first half, after the words are understood."""
    allowed = {"main", "load"} | ENTRY_POINTS | WHOLE_FILE
    found = set()
    for file in [*(ROOT / "stages").glob("*.py"), *(ROOT / "transfer").rglob("*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function in (node for node in tree.body if not isinstance(node, ast.Import)):
            calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
            if any(getattr(call.func, "id", "") in (*LOADERS, "read_params") for call in calls):
                found.add((file.relative_to(ROOT).as_posix(), getattr(function, "name", "-")))
    assert len(found) > 15
    assert {(file, name) for file, name in found if name not in allowed} == set()
    commands = {file for file, name in found if name == "load"}
    assert all(file.startswith("transfer/commands/") for file in commands)


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
    imported |= {package for package, stages in BEHIND_SOME.items() if name in stages}
    imported |= (
        {"h5py"}
        if any(str(out).startswith(("models/", "data/weights")) for out in STAGES[name]["outs"])
        else set()
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
    made = [out for out in outs if Path(out).name == "test"]
    readers = {
        path: [name for name, stage in STAGES.items() if path in stage["deps"]] for path in made
    }
    assert readers == {
        "data/images/test": ["extract", "evaluate", "export"],
        "data/features/test": ["evaluate"],
    }


NAME_THE_TEST_SPLIT = {
    "audit.py": "compares its images' perceptual hashes, which split wrote, with the others'",
    "manifest.py": "lists the splits",
    "scored_split.py": "chooses it for scores, or validation if there are no test images",
    "folder_words.py": "knows folders of that name",
}
READ_WHAT_IS_SCORED = {
    "stages/evaluate.py": "scores it",
    "stages/report.py": "joins what evaluate found, by the rows of the split",
    "transfer/export/export.py": "compares exported files with their model, chosen on validation",
    "transfer/dataset/split_notes.py": "says which images are going to be scored",
    "transfer/dataset/split_report.py": "says which scores leaks would flatter",
    "transfer/dataset/scored_split.py": "decides",
}


def test_only_what_scores_chooses_the_test_split_in_its_code():
    """The stages that make the arrays of all splits go through SPLITS and choose none."""
    naming, choosing = set(), set()
    for file in [*(ROOT / "stages").glob("*.py"), *(ROOT / "transfer").rglob("*.py")]:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        if any(isinstance(node, ast.Constant) and node.value == "test" for node in nodes):
            naming.add(file.name)
        named = {getattr(node, "name", getattr(node, "id", None)) for node in nodes}
        if "scored_split" in named:
            choosing.add(file.relative_to(ROOT).as_posix())
    assert naming == set(NAME_THE_TEST_SPLIT)
    assert choosing == set(READ_WHAT_IS_SCORED)


def test_only_what_takes_seconds_has_outputs_outside_the_cache():
    """Uncached outputs, which git has, keep a stage out of the shared run-cache: a clone runs it
    again, so expensive stages have none. `export` is run on request only, by each clone itself."""
    uncached = {
        name
        for name, stage in STAGES.items()
        for key in ("outs", "metrics", "plots")
        for out in stage.get(key, [])
        if isinstance(out, dict)
    }
    assert uncached == {"audit", "export", "report"}
