"""The sweep: what its file may say, that it repeats and goes on where it was, and that it trains
what DVC would train."""

import json
import math
import shlex
import shutil
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest
import yaml

from tests.helpers.tiny_pipeline import ROOT, call, copy_world, set_param
from transfer.commands.sweep.search import Trial, best_of, draw, report, search, write_table
from transfer.commands.sweep.space import Space, read_spaces
from transfer.commands.sweep.trainings import TRAININGS, Scores, measure
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_params
from transfer.training.loop import TrainingParams

SPACE = """
train_head:
  learning_rate: {low: 0.00001, high: 0.001, log: true}
  units: {low: 2, high: 300}
  dropout: {low: 0, high: 0.5}
  class_weight: [null, balanced]
  optimizer: [rmsprop, adamw]
"""


@pytest.fixture
def spaces(project):
    """Reads a file in a folder with the project's params.yaml."""
    shutil.copy(ROOT / "params.yaml", project)

    def read(text: str) -> list[Space]:
        (project / "sweep.yaml").write_text(text)
        return read_spaces(project / "sweep.yaml", sections())

    return read


def sections() -> dict[str, TrainingParams]:
    """params.yaml's section of each training."""
    return {name: load_params(training.params, name) for name, training in TRAININGS.items()}


def bowl(tried: dict, shift: int) -> Scores:
    """A loss that knows its minimum, and fails where a training would."""
    if tried["optimizer"] == "adamw":
        raise PipelineError("optimizer = 'adamw' without weight_decay is adam")
    loss = 0.3 + abs(math.log10(tried["learning_rate"] / 3e-4)) + tried["dropout"] + 0.001 * shift
    return Scores(loss, 1 - loss / 4)


def test_the_projects_own_file_is_one(monkeypatch):
    monkeypatch.chdir(ROOT)
    spaces = read_spaces(Path("transfer/commands/sweep/space.yaml"), sections())
    assert [space.section for space in spaces] == ["train_head", "finetune"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "give at least one section of train_head, train_augmented, finetune"),
        ("- a", "give at least one section"),
        ("a: [", "is not valid YAML"),
        ("extract: {batch_size: [32, 64]}", "extract is not a training; choose from train_head"),
        ("train_head: 3", "train_head: name at least one parameter"),
        ("train_head: {seed: [0, 1]}", "train_head.seed: each trial has the same seeds"),
        (
            "train_head: {unit: [1, 2]}",
            "train_head.unit is not a parameter; params.yaml has batch_size, checkpoint, ",
        ),
        ("finetune: {units: [1, 2]}", "finetune.units is not a parameter"),
        ("train_head: {units: 3}", "give [a, b, ...] or {low: a, high: b}"),
        ("train_head: {units: {low: 1, hihg: 3}}", "give [a, b, ...] or {low: a, high: b}"),
        ("train_head: {units: {low: 300, high: 3}}", "low = 300 is not below high = 3"),
        (
            "train_head: {units: {low: 0, high: 300}}",
            "train_head.units = 0.0: Input should be greater than 0",
        ),
        (
            "train_head: {units: {low: 1.5, high: 300}}",
            "train_head.units = 1.5: Input should be a valid integer",
        ),
        (
            "train_head: {dropout: {low: 0, high: 1}}",
            "train_head.dropout = 1.0: Input should be less than 1",
        ),
        ("train_head: {dropout: {low: 0, high: .inf}}", "give [a, b, ...]"),
        ("train_head: {l2: {low: 0, high: 0.1, log: true}}", "low = 0 has no logarithm"),
        (
            "train_head: {optimizer: [rmsprop, adagrad]}",
            "train_head.optimizer = adagrad: Input should be 'rmsprop', 'adam', 'adamw' or 'sgd'",
        ),
        ("train_head: {optimizer: {low: 1, high: 2}}", "is not a number; give a list"),
        (
            "train_head: {units: [256, 64.5]}",
            "train_head.units = 64.5: Input should be a valid integer",
        ),
        ("train_head: {units: [256]}", "a list needs two or more"),
        ("train_head: {units: [256, 64, 64.0]}", "a value is there twice"),
        (
            "finetune: {unfreeze: [null, [{from_layer: block5_conv3, epoch: 2}]]}",
            "a list needs two or more numbers, words",
        ),
        (
            "train_head: {units: {low: 2, high: 9}}",
            "params.yaml has 256, which is not among these; include it",
        ),
        (
            "train_head: {ema_momentum: {low: 0.9, high: 0.99}}",
            "params.yaml has null, which is not among these",
        ),
    ],
)
def test_what_the_file_gets_wrong_is_named(spaces, text, says):
    with pytest.raises(PipelineError) as caught:
        spaces(text)
    assert says in str(caught.value)
    assert "sweep.yaml" in str(caught.value)


def test_each_value_that_is_tried_is_one_that_the_training_takes(spaces):
    (space,) = spaces(SPACE.replace("adamw", "sgd"))
    for trial in search(space, 12, 1, 0, bowl):
        assert all(
            space.distributions[name]._contains(space.distributions[name].to_internal_repr(value))
            for name, value in trial.tried.items()
        )
        words = shlex.split(space.command(trial.tried))
        assert words[:3] == ["dvc", "exp", "run"]
        assert words[3::2] == ["-S"] * (len(words[3:]) // 2)
        shutil.copy(ROOT / "params.yaml", "params.yaml")
        for change in words[4::2]:
            key, _, value = change.partition("=")
            set_param(Path(), key, yaml.safe_load(value))
        made = load_params(TRAININGS["train_head"].params, "train_head")
        assert {name: getattr(made, name) for name in trial.tried} == trial.tried
        assert len(words) > 3 or trial.number == 0


def test_a_sweep_repeats_to_the_byte_and_resumes_as_if_never_stopped(spaces, project):
    (space,) = spaces(SPACE)
    for name, trials in (("whole", 14), ("again", 14), ("stopped", 6)):
        write_table(project / f"{name}.csv", [*search(space, trials, 2, 7, bowl)], 2)
    whole, stopped = ((project / f"{name}.csv").read_text() for name in ("whole", "stopped"))
    assert whole == (project / "again.csv").read_text()
    assert whole.startswith(stopped)
    other = [trial.tried for trial in search(space, 14, 2, 8, bowl)]
    assert other != [trial.tried for trial in search(space, 14, 2, 7, bowl)]


def test_it_starts_from_the_defaults_and_finds_better_ones(spaces):
    (space,) = spaces(SPACE)
    trials = [*search(space, 30, 2, 0, bowl)]
    assert (
        trials[0].tried
        == space.defaults
        == {
            name: getattr(load_params(TRAININGS["train_head"].params, "train_head"), name)
            for name in space.defaults
        }
    )
    assert trials[0].loss == pytest.approx(0.3 + math.log10(3) + 0.0005)
    assert best_of(trials).loss < 0.45 < trials[0].loss
    late = [trial.tried["optimizer"] for trial in trials[15:]]
    assert late.count("adamw") <= 3, "TPE has seen that it fails"


def test_a_trial_that_fails_is_a_row_with_its_reason(spaces, project):
    (space,) = spaces(SPACE)
    trials = [*search(space, 14, 2, 0, bowl)]
    write_table(project / "trials.csv", trials, 2)
    table = pd.read_csv(project / "trials.csv")
    failed = table["optimizer"] == "adamw"
    assert 0 < failed.sum() < len(table)
    assert (table["reason"] == "optimizer = 'adamw' without weight_decay is adam").equals(failed)
    assert table["loss"].isna().equals(failed)
    assert table["loss"].dropna().tolist() == [trial.loss for trial in trials if trial.scores]


def test_nothing_is_searched_if_the_defaults_fail(spaces):
    (space,) = spaces(SPACE)
    with pytest.raises(PipelineError, match="no loss"):
        next(
            search(
                space, 3, 1, 0, lambda tried, shift: (_ for _ in ()).throw(PipelineError("no loss"))
            )
        )


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((-0.1, -0.11, -0.09), "lower than"), ((-0.1, 0.05, -0.01), "not shown to be lower than")],
)
def test_the_report_claims_what_the_interval_shows(spaces, differences, verdict):
    (space,) = spaces(SPACE)
    trials = [
        Trial(0, space.defaults, [Scores(0.4, 0.8)] * 3),
        Trial(1, {**space.defaults, "units": 9}, [Scores(0.3, 0.9)] * 3),
    ]
    again = [[Scores(0.4, 0.8), Scores(0.4 + difference, 0.8)] for difference in differences]
    text = report(space, trials, again, n_images=200)
    assert f"So its loss is {verdict} params.yaml's, on these 200 images" in " ".join(text.split())
    assert text.endswith("\n    dvc exp run -S train_head.units=9")
    assert "move its accuracy by 0.021" in text  # sqrt(0.9 * 0.1 / 200)
    alone = report(space, trials[:1], [], n_images=200)
    assert ": 1 trial, 3 seeds each\n" in alone
    assert "No trial was better than params.yaml" in alone


def test_optuna_draws_the_trials_that_did_not_fail(spaces, project):
    (space,) = spaces(SPACE)
    trials = [*search(space, 9, 2, 0, bowl), Trial(9, space.defaults, [], "not finite")]
    draw(project, space, trials)
    names = ("train_head.png", "train_head_parameters.png")
    drawn = {name: (project / name).read_bytes() for name in names}
    for name in names:
        height, width, _ = matplotlib.image.imread(project / name).shape
        assert min(height, width) > 200
    draw(project, space, trials[:9])
    assert {name: (project / name).read_bytes() for name in names} == drawn
    draw(project, space, trials[:5])
    assert all((project / name).read_bytes() != drawn[name] for name in names)


@pytest.fixture
def caches(base, project) -> Path:
    """The reproduced world, by links, in the working directory, without anything of the test split
    or of the trained models."""
    for folder in ("manifest", "features/train", "features/validation", "views", "weights"):
        (project / "data" / folder).mkdir(parents=True)
        for file in (base / "data" / folder).iterdir():
            (project / "data" / folder / file.name).symlink_to(file)
    for name in ("stages", "transfer", "params.yaml", "dvc.yaml"):
        (project / name).symlink_to(base / name)
    return project


MEASURE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from transfer.commands.sweep import trainings
from transfer.runtime.params import load_params
params = {name: load_params(each.params, name) for name, each in trainings.TRAININGS.items()}
asked = [({"units": 64}, 0), ({"units": 64}, 1), ({}, 0)]
measured = [trainings.measure(Path("store"), params, "train_head", *each) for each in asked]
trainings.train = None
assert trainings.measure(Path("store"), params, "train_head", {}, 0) == measured[2], "trained again"
print(json.dumps(measured))
"""


def test_a_trial_is_what_dvc_trains_and_opens_nothing_of_the_test_split(caches, base):
    """With params.yaml's values and seed its files are those of the pipeline, to the byte, whatever
    was trained before in the process."""
    first, second, _ = json.loads(
        call("python", "-c", MEASURE, str(ROOT), cwd=caches).stdout.splitlines()[-1]
    )
    assert first != second
    made = [path.parents[1] for path in (caches / "store").glob("*/head/history.csv")]
    assert len(made) == 3
    files = ("head/history.csv", "head/model.json")
    expected = [(base / "models" / name).read_bytes() for name in files]
    assert expected in [[(folder / name).read_bytes() for name in files] for folder in made]
    assert {path.name for path in caches.iterdir()} == {
        "data",
        "stages",
        "transfer",
        "params.yaml",
        "dvc.yaml",
        "store",
    }


def test_no_training_has_anything_of_the_test_split_among_what_is_linked_for_it():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert [
        name
        for section in TRAININGS
        for name in stages[section]["deps"]
        if Path(name).name.startswith("test")
    ] == []
    assert "data/features/test" in stages["evaluate"]["deps"]


def test_arrays_that_are_not_there_are_named(caches):
    shutil.rmtree(caches / "data/features/train")
    with pytest.raises(
        PipelineError,
        match=r"data/features/train is missing; run `dvc repro augment` or `dvc pull`",
    ):
        measure(caches / "store", sections(), "train_head", {}, 0)


def test_make_passes_the_number_of_trials_on():
    said = call(
        "make",
        "--no-print-directory",
        "--dry-run",
        "--old-file=requirements.txt",
        "sweep",
        "TRIALS=7",
        cwd=ROOT,
    ).stdout
    assert said.splitlines()[-1] == "python -m transfer sweep --trials 7"


TINY = """
train_head:
  units: {low: 2, high: 9}
  learning_rate: {low: 0.0001, high: 1e+30, log: true}
finetune:
  batch_size: [10, 20]
  learning_rate: {low: 0.00001, high: 0.001, log: true}
"""


@pytest.mark.slow
def test_a_real_sweep_stopped_and_called_again(base, tmp_path):
    """Killed during a training, it ends with the bytes of one that was not; what it prints makes
    the same model in DVC; git sees none of it."""
    project = copy_world(base, tmp_path / "project")
    (tmp_path / "tiny.yaml").write_text(TINY)
    sweep = [
        "python",
        "-m",
        "transfer",
        "sweep",
        "--space",
        str(tmp_path / "tiny.yaml"),
        "--seeds",
        "2",
        "--further",
        "2",
    ]
    call(
        "timeout",
        "--signal=KILL",
        "30",
        *sweep,
        "--trials",
        "6",
        "--output",
        "logs/stopped",
        cwd=project,
        check=False,
    )
    said = {}
    for output in ("stopped", "whole"):
        said[output] = call(
            *sweep, "--trials", "6", "--output", f"logs/{output}", cwd=project
        ).stdout
    assert said["stopped"] == said["whole"]
    for section in ("train_head", "finetune"):
        for kind in ("csv", "png"):
            stopped, whole = (
                (project / "logs" / output / f"{section}.{kind}").read_bytes()
                for output in ("stopped", "whole")
            )
            assert stopped == whole
    assert "the loss is not finite in epoch" in (project / "logs/whole/train_head.csv").read_text()
    assert call("git", "status", "--short", cwd=project).stdout == ""
    lines = [
        line.strip() for line in said["whole"].splitlines() if line.startswith("    dvc exp run")
    ]
    assert lines, said["whole"]
    for place, line in enumerate(lines):
        call(*shlex.split(line), "--temp", "--name", f"best-{place}", cwd=project)
        call("dvc", "exp", "apply", f"best-{place}", cwd=project)
        section = line.split("-S ")[1].split(".")[0]
        history = f"{TRAININGS[section].model}/history.csv"
        kept = [
            path.read_bytes() for path in (project / "logs/whole/trainings").glob(f"*/{history}")
        ]
        assert (project / "models" / history).read_bytes() in kept
    set_param(project, "augment.rotation", 10)
    refused = call(*sweep, cwd=project, check=False)
    assert refused.returncode == 1
    assert (
        refused.stderr.splitlines()[-1]
        == "sweep: the cached arrays are out of date: `dvc repro` would run augment; do that first"
    )
