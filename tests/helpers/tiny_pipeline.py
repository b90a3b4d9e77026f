"""The real pipeline under real DVC, in a tiny world: how it is built, run and changed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from transfer.classifiers.names import MODEL_NAMES
from transfer.runtime.dvc_files import stage_names

ROOT = Path(__file__).parents[2]
DESCRIBED = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = stage_names(DESCRIBED)  # in the order in which they stand in dvc.yaml
MODELS = MODEL_NAMES
EVALUATIONS = [f"evaluate@{name}" for name in MODELS]
LEFT_OUT = ("metrics", "plots", "MODEL_CARD.md", "tests", "docs")
TINY = {
    "split": {"source": "images", "train": 0.5, "validation": 0.25, "test": 0.25},
    "backbone": {"image_size": 32},
    "weights": {"source": "random"},
    "augment": {"views": 2},
    "train_scratch": {"units": 4, "epochs": 2},
    "train_head": {"units": 4, "epochs": 2},
    "train_augmented": {"units": 4, "epochs": 2},
    "finetune": {"epochs": 2},
    "export": {"formats": []},
}


def environment() -> dict[str, str]:
    """Of a person who has activated the environment, outside of any DVC run."""
    variables = {
        name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "DVC_STAGE")
    }
    variables |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return variables | {
        f"GIT_{who}_{what}": "tester@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }


def call(*words: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    finished = subprocess.run(
        words, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    if check and finished.returncode:
        pytest.fail(
            f"{' '.join(words)} exited with "
            f"{finished.returncode}:\n{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"
        )
    return finished


class Reproduced(NamedTuple):
    """The stages that `dvc repro` ran, in order, and all that it and they printed."""

    stages: list[str]
    text: str


def repro(project: Path, *words: str) -> Reproduced:
    text = call("dvc", "repro", *words, cwd=project).stdout
    return Reproduced(re.findall(r"Running stage '([\w@/.:]+)'", text), text)


def set_param(project: Path, key: str, value) -> None:
    section, name = key.split(".")
    file = project / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    params[section][name] = value
    file.write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")


def draw_image(path: Path, seed: int) -> None:
    """A noisy picture, red at the top for the class `a` and at the bottom for others; no two share
    a perceptual hash."""
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    pixels[: 20 if path.parent.name == "a" else 40, :, 0] //= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def copy_code(project: Path) -> None:
    """Copy the project as it is now, committed or not, without its tests, docs and results."""
    words = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    for name in call(*words, cwd=ROOT).stdout.splitlines():
        is_left_out = name.split("/")[0] in LEFT_OUT or Path(name).name == "dvc.lock"
        if (ROOT / name).is_file() and not is_left_out:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)


def build_world(project: Path) -> None:
    """A clone of the project with tiny parameters and images, not reproduced yet."""
    copy_code(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params = {section: values | TINY.get(section, {}) for section, values in params.items()}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    for label in "ab":
        for i in range(12):
            draw_image(project / "images" / label / f"{i}.png", seed=100 * ord(label) + i)
    call("git", "init", "--quiet", cwd=project)


def run_every_stage(project: Path, name: str, sha256: str, **backbone) -> None:
    """Build a world with a backbone that brings its own weights, run all stages and predict by a
    head and by a fine-tuned model.

    Args:
        name: `backbone.name`.
        sha256: `weights.sha256`.
        backbone: other parameters of the section.
    """
    build_world(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["backbone"] |= {"name": name, **backbone}
    params["weights"] |= {"source": "imagenet", "sha256": sha256}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    assert {*repro(project).stages} >= {*STAGES} - {"evaluate"}
    assert json.loads((project / "data/frozen/network.json").read_text())["problem"] is None
    for model in ("head", "finetuned"):
        words = ("python", "-m", "transfer", "predict", "images/a/0.png", "--model", model)
        assert "images/a/0.png" in call(*words, cwd=project).stdout


def copy_world(world: Path, target: Path) -> Path:
    """A copy of a reproduced world, to be changed; the files of its DVC cache, which DVC never
    changes in place, are hard links."""

    def copy(source: str, copied: str) -> None:
        is_cached = Path(source).is_relative_to(world / ".dvc/cache/files")
        (os.link if is_cached else shutil.copy2)(source, copied)

    return Path(shutil.copytree(world, target, symlinks=True, copy_function=copy))


def add_images_and_a_class(project: Path) -> None:
    draw_image(project / "images" / "a" / "new.png", seed=1)
    for i in range(4):
        draw_image(project / "images" / "c" / f"{i}.png", seed=2 + i)


ALL_OF_IMAGES = [name for name in STAGES if name not in ("weights", "convert")]
LAST = ["report"]
CHANGES = {  # how to make it, and the stages that it runs
    "train_head.units": (
        lambda project: set_param(project, "train_head.units", 5),
        ["train_head", "evaluate@head", *LAST],
    ),
    "finetune.learning_rate": (
        lambda project: set_param(project, "finetune.learning_rate", "5e-06"),
        ["finetune", "evaluate@finetuned", *LAST],
    ),
    "augment.rotation": (
        lambda project: set_param(project, "augment.rotation", 10),
        [
            "augment",
            "train_scratch",
            "train_augmented",
            "finetune",
            "evaluate@scratch",
            "evaluate@augmented",
            "evaluate@finetuned",
            *LAST,
        ],
    ),
    "train_scratch.skip": (
        lambda project: set_param(project, "train_scratch.skip", True),
        ["train_scratch", "evaluate@scratch", *LAST],
    ),
    "audit.folds": (lambda project: set_param(project, "audit.folds", 4), ["audit", "report"]),
    "split.seed": (lambda project: set_param(project, "split.seed", 1), ALL_OF_IMAGES),
    "new images": (add_images_and_a_class, ALL_OF_IMAGES),
}


def forget(project: Path, stage: str) -> None:
    """As if the pipeline had come to the start of `stage` and had never gone further."""
    later = STAGES[STAGES.index(stage) :]
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    for name in later:
        for out in lock["stages"].pop(name)["outs"]:
            path = project / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (project / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    for kept in (".dvc/cache/runs", ".rows"):
        shutil.rmtree(project / kept)


def run_alone(
    base: Path, folder: Path, locks: dict[str, dict], warm: bool = False
) -> dict[str, set[str]]:
    """Run stages, each in a folder that holds its dependencies and nothing else.

    Args:
        folder: gets a folder of each stage's name.
        locks: the stages' entries in dvc.lock.
        warm: import the packages once for all stages (tests/helpers/warm.py), which pays if many
            of them need TensorFlow.

    Returns:
        The files that each stage wrote, but for its log and store.
    """
    for name, lock in locks.items():
        copy_dependencies(base, folder / name, lock)
    before = {name: files_in(folder / name) for name in locks}
    commands = {name: shlex.split(lock["cmd"]) for name, lock in locks.items()}
    if warm:
        # without `python -m`
        runs = [[str(folder / name), *words[2:]] for name, words in commands.items()]
        call("python", "-m", "tests.helpers.warm", json.dumps(runs), cwd=ROOT)
    else:
        for name, words in commands.items():
            call(*words, cwd=folder / name)
    return {
        name: files_in(folder / name) - files - {f"logs/{name}.json", f"logs/{name}.lock"}
        for name, files in before.items()
    }


def copy_dependencies(base: Path, sandbox: Path, lock: dict) -> None:
    """Copy what a stage needs, by its entry in dvc.lock."""
    for dependency in lock["deps"]:
        source, target = base / dependency["path"], sandbox / dependency["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for package in ("stages", "transfer"):
        (sandbox / package).mkdir(exist_ok=True)
        shutil.copy(base / package / "__init__.py", sandbox / package)
    # no stage lists it, since it changes no output
    shutil.copytree(base / "transfer/cluster", sandbox / "transfer/cluster")
    for file in ("params.yaml", "dvc.yaml", "pins.yaml"):
        shutil.copy(base / file, sandbox)
    if "stages.evaluate" in lock["cmd"]:
        # no dependency, but what a training has kept: `evaluate` would convert its model again
        shutil.copytree(base / ".cache", sandbox / ".cache")


def files_in(folder: Path) -> set[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {file.as_posix() for file in files if not {"__pycache__", ".rows"} & {*file.parts}}
