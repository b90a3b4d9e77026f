"""What a change makes the pipeline run again, and what it makes it compute again.

Rows that are known are not computed again, and nothing that comes out shows which ones were.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.tiny_pipeline import (
    CHANGES,
    EVALUATIONS,
    MODELS,
    STAGES,
    Reproduced,
    call,
    copy_world,
    repro,
    run_alone,
    set_param,
)

SPLITS = ("train", "validation", "test")
FEATURES = [f"data/features/{split}/features" for split in SPLITS]
LOCKED = {
    "extract": {
        f"data/features/{split}/{input_kind}.npy"
        for split in SPLITS
        for input_kind in ("features", "cut")
    },
    "augment": {"data/views/features.npy", "data/views/cut.npy", "plots/augmentation.png"},
}


# The others run few stages: "train_scratch.skip" and "audit.folds".
SLOW = dict.fromkeys(
    ("train_head.units", "finetune.learning_rate", "augment.rotation", "split.seed", "new images"),
    pytest.mark.slow,
)


TRAININGS = ["train_scratch", "train_head", "train_augmented", "finetune"]
BASELINES = ["train_neighbours", "train_probe"]
PINS = {  # the stages whose bytes a package decides
    "pillow": ["split", "decode", "audit", "augment", *EVALUATIONS, "report"],
    "tensorflow": ["weights", "convert", "extract", "augment", *TRAININGS, *EVALUATIONS],
    "ai-edge-litert": ["extract", "augment", *EVALUATIONS],
    "h5py": ["weights", *TRAININGS, *BASELINES],
    "scipy": [
        "split",
        "audit",
        "augment",
        "train_scratch",
        "train_probe",
        *EVALUATIONS,
        "report",
    ],
    "cleanlab": ["audit"],
    "statsmodels": [*EVALUATIONS, "report"],
    "jinja2": ["report"],
    "rich": [],  # in requirements.txt, and no stage's
}
RESOURCES = {  # another value for each key of the section
    "engine": "ray",
    "address": "127.0.0.1:1",
    "worker_cpus": 2,
    "retries": 0,
    "timeout": 5,
    "cache_gigabytes": 30,
    "shards_url": "s3://bucket/shards",
}


@pytest.fixture(scope="module")
def rerun(base, tmp_path_factory) -> Callable[[str], tuple[Path, Reproduced]]:
    """Makes a change, once, in a copy of its own and reproduces it:
    the copy, what ran, what was said."""

    @cache
    def rerun(name: str) -> tuple[Path, Reproduced]:
        project = copy_world(base, tmp_path_factory.mktemp("change") / "project")
        CHANGES[name][0](project)
        return project, repro(project)

    return rerun


@pytest.fixture(scope="module")
def rerun_maps(base, tmp_path_factory) -> Callable[[str], tuple[Path, Reproduced]]:
    """As `rerun`, up to the two stages that send images through the network."""

    @cache
    def rerun_maps(name: str) -> tuple[Path, Reproduced]:
        project = copy_world(base, tmp_path_factory.mktemp("maps") / "project")
        CHANGES[name][0](project)
        return project, repro(project, "extract", "augment")

    return rerun_maps


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, [])) for name in CHANGES])
def test_a_change_reruns_what_depends_on_it_and_nothing_else(rerun, name):
    assert rerun(name)[1].stages == CHANGES[name][1]


def test_another_version_of_a_package_reruns_the_stages_whose_bytes_it_decides_and_nothing_else(
    base, tmp_path
):
    project = copy_world(base, tmp_path / "project")
    lock, pins = (project / name for name in ("requirements.txt", "pins.yaml"))
    for package, stages in PINS.items():
        before = {path: path.read_text() for path in (lock, pins)}
        for path, text in before.items():
            path.write_text(
                re.sub(rf"^({package}(?:==|: \"))[0-9.]+", r"\g<1>1.0", text, flags=re.MULTILINE)
            )
        assert lock.read_text() != before[lock] and (pins.read_text() == before[pins]) == (
            not stages
        ), package
    status = json.loads(call("dvc", "status", "dvc.yaml", "--json", cwd=project).stdout)
    modified = {
        name: {package: "modified" for package, stages in PINS.items() if name in stages}
        for name in STAGES
    }
    assert status == {
        name: [{"changed deps": {"pins.yaml": packages}}]
        for name, packages in modified.items()
        if packages
    }


def test_no_resource_makes_anything_run_again(base, tmp_path):
    project = copy_world(base, tmp_path / "project")
    kept = yaml.safe_load((project / "params.yaml").read_text())
    assert {*kept["resources"]} == {*RESOURCES}
    assert all(kept["resources"][name] != value for name, value in RESOURCES.items())
    (project / "params.yaml").write_text(yaml.safe_dump(kept | {"resources": RESOURCES}))
    assert json.loads(call("dvc", "status", "dvc.yaml", "--json", cwd=project).stdout) == {}


def test_a_changed_table_of_labels_runs_split_again(base, tmp_path):
    project = copy_world(base, tmp_path / "project")
    table = project / "labels (1), é.csv"
    rows = [f"{label}/{i}.png,{label}" for label in "ab" for i in range(12)]
    table.write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    set_param(project, "split.labels", table.name)
    assert repro(project, "split").stages == ["split"]
    assert repro(project, "split").stages == []
    table.write_text("\n".join(["path,label", *rows[:-1], "b/11.png,a"]), encoding="utf-8")
    again = repro(project, "split")
    assert again.stages == ["split"]
    assert "labels from labels (1), é.csv (CSV with commas, 24 rows)" in again.text


@pytest.mark.slow
def test_new_images_may_bring_a_class(rerun):
    project = rerun("new images")[0]
    for name in MODELS:
        described = json.loads((project / f"models/{name}/model.json").read_text())
        assert described["class_names"] == ["a", "b", "c"]
        scores = json.loads((project / "metrics/evaluation.json").read_text())
        assert scores[name]["n"] == 7


def test_a_model_that_is_skipped_is_nowhere_and_nothing_misses_it(base, rerun):
    project = rerun("train_scratch.skip")[0]
    accuracy = json.loads((project / "metrics/accuracy.json").read_text())
    assert accuracy == {
        name: value
        for name, value in json.loads((base / "metrics/accuracy.json").read_text()).items()
        if name != "scratch"
    }
    shown = json.loads(call("dvc", "plots", "show", "--json", cwd=project).stdout)
    assert not shown.get("errors")
    values = [
        plots[0]["content"]["data"]["values"]
        for plots in shown["data"].values()
        if "content" in plots[0]
    ]
    assert len(values) > 5 and "scratch" not in json.dumps(values)
    for file in ("plots/report.html", "MODEL_CARD.md"):
        assert (
            re.search("a small network (trained )?from scratch", (base / file).read_text().lower())
            and "**scratch**" not in (project / file).read_text()
        )
    refused = call(
        "python",
        "-m",
        "transfer",
        "predict",
        "--model",
        "scratch",
        "images",
        cwd=project,
        check=False,
    )
    assert refused.returncode == 1
    others = "augmented, finetuned, head, neighbours, probe"
    assert f"no model 'scratch' in models/; there are {others}" in refused.stderr


def computed(text: str) -> dict[str, tuple[int, int]]:
    """By file how many rows were known and how many were computed, as the stages said."""
    lines = re.findall(
        r"^(\S+): ([\d,]+) rows were known \(\.rows\), ([\d,]+) were computed$",
        text,
        re.MULTILINE,
    )
    return {
        file: (int(known.replace(",", "")), int(new.replace(",", ""))) for file, known, new in lines
    }


def images_in(project: Path, *splits: str) -> set[bytes]:
    return {
        image.tobytes()
        for split in splits
        for image in np.load(project / f"data/images/{split}/images.npy")
    }


def store(project: Path) -> dict[Path, int]:
    return {
        path.relative_to(project): path.stat().st_size
        for path in project.rglob(".rows/**/*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("change", "n_new"), [("new images", 5), pytest.param("split.seed", 0, marks=pytest.mark.slow)]
)
def test_only_images_that_were_never_seen_are_computed(base, rerun_maps, change, n_new):
    project, reproduced = rerun_maps(change)
    assert sorted(reproduced.stages) == ["augment", "decode", "extract", "split"]
    counts = computed(reproduced.text)
    assert sum(counts[file][1] for file in FEATURES) == n_new
    assert sum(counts[file][0] for file in FEATURES) == 24
    assert len(images_in(project, *SPLITS) - images_in(base, *SPLITS)) == n_new
    train, seen = images_in(project, "train"), images_in(base, "train")
    assert train != seen
    assert counts["data/views/features"] == (2 * len(train & seen), 2 * len(train - seen))


@pytest.mark.parametrize(
    "change", ["new images", pytest.param("split.seed", marks=pytest.mark.slow)]
)
def test_arrays_from_the_store_are_byte_for_byte_those_computed_without_it(
    rerun_maps, tmp_path, change
):
    """In a folder that has no `.rows`, the two stages write what `dvc repro` put together
    from it."""
    project = rerun_maps(change)[0]
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    written = run_alone(project, tmp_path, {stage: lock[stage] for stage in LOCKED})
    for stage, files in written.items():
        assert files == LOCKED[stage]
        for file in files:
            assert (tmp_path / stage / file).read_bytes() == (project / file).read_bytes(), (
                f"{file} differs"
            )


def test_an_experiment_in_a_temporary_folder_shares_the_store(base, tmp_path):
    project = copy_world(base, tmp_path / "project")
    before = store(project)
    said = call(
        "dvc",
        "exp",
        "run",
        "--temp",
        "--set-param",
        "extract.batch_size=32",
        "extract",
        cwd=project,
    ).stdout
    assert computed(said) == {file: (12 if "train" in file else 6, 0) for file in FEATURES}
    assert store(project) == before
    assert {path.parts[0] for path in before} == {".rows"}


def test_the_store_is_no_part_of_the_commit_and_of_no_clone(base, tmp_path):
    assert store(base)
    assert call("git", "status", "--porcelain", cwd=base).stdout == ""
    assert call("git", "ls-files", ".rows", cwd=base).stdout == ""
    assert ".rows" not in (base / "dvc.lock").read_text()
