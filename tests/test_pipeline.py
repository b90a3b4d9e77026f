"""The real pipeline under real DVC, in a tiny world: random weights, 32 pixels, two views, two epochs."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parent.parent
STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
TINY = {
    "split": {"source": "images", "train": 0.5, "validation": 0.25, "test": 0.25},
    "backbone": {"image_size": 32},
    "weights": {"source": "random"},
    "augment": {"views": 2},
    "train_head": {"units": 4, "epochs": 2},
    "train_augmented": {"units": 4, "epochs": 2},
    "finetune": {"epochs": 2},
}
SHAPES = {
    "data/images/train.npy": (12, 32, 32, 3),
    "data/features/train.npy": (12, 1, 1, 512),
    "data/features/train_cut.npy": (12, 2, 2, 512),
    "data/features/validation.npy": (6, 1, 1, 512),
    "data/features/test_cut.npy": (6, 2, 2, 512),
    "data/views/train.npy": (2, 12, 1, 1, 512),
    "data/views/train_cut.npy": (2, 12, 2, 2, 512),
}


def call(*words: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {f"GIT_{who}_{what}": "tester@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    finished = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if check and finished.returncode:
        pytest.fail(f"{' '.join(words)} exited with {finished.returncode}:\n{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}")
    return finished


def repro(project: Path, *words: str) -> list[str]:
    """Run `dvc repro`; the stages that it ran, in order."""
    return re.findall(r"Running stage '(\w+)'", call("dvc", "repro", *words, cwd=project).stdout)


def set_param(project: Path, key: str, value) -> None:
    section, name = key.split(".")
    params = yaml.safe_load((project / "params.yaml").read_text())
    params[section][name] = value
    (project / "params.yaml").write_text(yaml.safe_dump(params))


def draw_image(path: Path, seed: int) -> None:
    """A noisy picture, red at the top for the class `a` and at the bottom for others; no two share a perceptual hash."""
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    pixels[: 20 if path.parent.name == "a" else 40, :, 0] //= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A clone of the project with tiny parameters and images, reproduced once and committed."""
    project = tmp_path_factory.mktemp("world") / "base"
    tracked = call("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.splitlines()
    for name in tracked:
        if (ROOT / name).is_file() and name.split("/")[0] not in ("metrics", "plots", "dvc.lock", "tests", "docs"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params = {section: values | TINY.get(section, {}) for section, values in params.items()}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    for label in "ab":
        for i in range(12):
            draw_image(project / "images" / label / f"{i}.png", seed=100 * ord(label) + i)
    call("git", "init", "--quiet", cwd=project)
    assert repro(project) == STAGES
    call("git", "add", "--all", cwd=project)
    call("git", "commit", "--quiet", "--message", "reproduced", cwd=project)
    return project


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced world, to be changed."""
    return Path(shutil.copytree(base, tmp_path / "project", symlinks=True))


def test_arrays_have_the_designs_shapes_and_rows_match_the_manifest(base):
    for name, shape in SHAPES.items():
        array = np.load(base / name)
        assert array.shape == shape
        assert array.dtype == ("uint8" if "images" in name else "float32")
        assert array.any()


def test_metrics_are_small_flat_and_hold_the_promised_scores(base):
    for name in ("head", "augmented", "finetuned"):
        scores = json.loads((base / "metrics" / f"{name}.json").read_text())
        assert set(scores) == {"accuracy", "accuracy_low", "accuracy_high", "log_loss", "macro_f1", "roc_auc", "n"}
        assert scores["n"] == 6
        assert scores["accuracy_low"] <= scores["accuracy"] <= scores["accuracy_high"]


def test_predictions_and_metrics_agree(base):
    for name in ("head", "augmented", "finetuned"):
        table = pd.read_csv(base / "plots" / "predictions" / f"{name}.csv")
        accuracy = json.loads((base / "metrics" / f"{name}.json").read_text())["accuracy"]
        assert (table["actual"] == table["predicted"]).mean() == pytest.approx(accuracy, abs=1e-6)


def test_nothing_changed_runs_nothing_and_leaves_git_clean(project):
    assert repro(project) == []
    assert call("git", "status", "--porcelain", cwd=project).stdout == ""


def add_images_and_a_class(project: Path) -> None:
    draw_image(project / "images" / "a" / "new.png", seed=1)
    for i in range(4):
        draw_image(project / "images" / "c" / f"{i}.png", seed=2 + i)


ALL_BUT_WEIGHTS = [name for name in STAGES if name != "weights"]
CHANGES = {
    "train_head.units": (lambda project: set_param(project, "train_head.units", 5), ["train_head", "evaluate"]),
    "finetune.learning_rate": (lambda project: set_param(project, "finetune.learning_rate", "5e-06"), ["finetune", "evaluate"]),
    "augment.rotation": (
        lambda project: set_param(project, "augment.rotation", 10),
        ["augment", "train_augmented", "finetune", "evaluate"],
    ),
    "split.seed": (lambda project: set_param(project, "split.seed", 1), ALL_BUT_WEIGHTS),
    "new images": (add_images_and_a_class, ALL_BUT_WEIGHTS),
}


@pytest.fixture(scope="module")
def reruns(base, tmp_path_factory) -> dict[str, tuple[Path, list[str]]]:
    """Each change made in a copy of its own and reproduced, two at a time: the copy, and the stages that ran."""

    def rerun(name: str) -> tuple[Path, list[str]]:
        project = Path(shutil.copytree(base, tmp_path_factory.mktemp("change") / "project", symlinks=True))
        CHANGES[name][0](project)
        return project, repro(project)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CHANGES, pool.map(rerun, CHANGES), strict=True))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_reruns_what_depends_on_it_and_nothing_else(reruns, name):
    assert reruns[name][1] == CHANGES[name][1]


def test_new_images_may_bring_a_class(reruns):
    project = reruns["new images"][0]
    for name in ("head", "augmented", "finetuned"):
        assert json.loads((project / "models" / f"{name}.json").read_text())["class_names"] == ["a", "b", "c"]
        assert json.loads((project / "metrics" / f"{name}.json").read_text())["n"] == 7


def test_each_stage_needs_its_dependencies_only_and_writes_the_same_bytes_in_another_folder(base, tmp_path):
    """Proves the data half of dvc.yaml, and that every output repeats bit for bit."""
    lock = yaml.safe_load((base / "dvc.lock").read_text())["stages"]
    with ThreadPoolExecutor(2) as pool:
        written = dict(zip(STAGES, pool.map(lambda name: run_alone(base, tmp_path / name, name, lock[name]), STAGES), strict=True))
    for name, files in written.items():
        outputs = [out["path"] for out in lock[name]["outs"]]
        expected = {file for out in outputs for file in ([out] if (base / out).is_file() else [f"{out}/{f}" for f in files_in(base / out)])}
        assert files == expected
        for file in files:
            assert (tmp_path / name / file).read_bytes() == (base / file).read_bytes(), f"{file} differs"


def run_alone(base: Path, sandbox: Path, name: str, lock: dict) -> set[str]:
    """Run a stage in a folder that holds its dependencies and nothing else; the files that it wrote, but for its log."""
    for dependency in lock["deps"]:
        source, target = base / dependency["path"], sandbox / dependency["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for package in ("stages", "transfer"):
        (sandbox / package).mkdir(exist_ok=True)
        shutil.copy(base / package / "__init__.py", sandbox / package)
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(base / file, sandbox)
    before = files_in(sandbox)
    call("python", "-m", f"stages.{name}", cwd=sandbox)
    return files_in(sandbox) - before - {f"logs/{name}.json"}


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def test_every_plot_is_drawn_for_the_workspace_and_for_the_commit(base):
    drawn = json.loads(call("dvc", "plots", "diff", "HEAD", "--json", cwd=base).stdout)
    assert not drawn.get("errors")
    specifications = {name: plots[0]["content"] for name, plots in drawn["data"].items() if plots[0]["type"] == "vega"}
    declared = yaml.safe_load((base / "dvc.yaml").read_text())["plots"]
    assert set(specifications) == {next(iter(plot)) for plot in declared if isinstance(plot, dict)}
    for content in specifications.values():
        assert {row["rev"] for row in content["data"]["values"]} == {"HEAD", "workspace"}
        assert "<DVC_METRIC" not in json.dumps(content)
    images = {name: plots for name, plots in drawn["data"].items() if plots[0]["type"] == "image"}
    assert set(images) == {f"plots/mistakes/{name}.png" for name in ("head", "augmented", "finetuned")}


def test_push_clone_pull_and_repro_runs_nothing(project, tmp_path):
    call("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"), cwd=project)
    call("git", "commit", "--quiet", "--all", "--message", "remote", cwd=project)
    call("dvc", "push", cwd=project)
    clone = tmp_path / "clone"
    call("git", "clone", "--quiet", str(project), str(clone), cwd=tmp_path)
    call("dvc", "pull", cwd=clone)
    assert repro(clone) == []
    assert call("git", "status", "--porcelain", cwd=clone).stdout == ""
    assert (clone / "models/finetuned.weights.h5").read_bytes() == (project / "models/finetuned.weights.h5").read_bytes()


def test_a_users_mistake_in_params_ends_in_one_message_without_a_traceback(project):
    set_param(project, "train_head.epochs", "abc")
    finished = call("dvc", "repro", cwd=project, check=False)
    assert finished.returncode != 0
    assert "params.yaml: train_head.epochs = 'abc'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_help_says_what_a_stage_reads_and_writes(base):
    text = call("python", "-m", "stages.extract", "--help", cwd=base).stdout
    for words in ("Run every image once", "data/images/train.npy", "data/features/train_cut.npy", "backbone"):
        assert words in text


def test_the_summary_names_each_model_and_what_was_reused(project):
    set_param(project, "train_head.units", 6)
    table = call("python", "-m", "transfer.run", cwd=project).stdout.split("\n\n")[-2].splitlines()
    by_model = {line.split()[0]: line for line in table}
    assert re.search(r"head +\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\) +[\d.]+ +train_head +split, decode, weights, extract", by_model["head"])
    assert re.search(r"0\.0 +nothing +split, decode, weights, extract, augment, train_augmented, finetune", by_model["finetuned"])
