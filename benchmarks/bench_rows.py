"""The rows of `make bench`: what is run for each, and what a person would do instead."""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import yaml

from benchmarks.first_row import time_rows
from benchmarks.measuring import DVC, Place, Timed, gpu_names
from benchmarks.stage_times import StageTime
from transfer.classifiers.converted import FOLDER

PYTHON = sys.executable
# a script of its own, without the pipeline's package around it
KERAS = (PYTHON, "-P", "benchmarks/plain_keras.py")
PARTS = (PYTHON, "-m", "benchmarks.pipeline_parts")
TO_FILE = ("--output", "{output}")
IMPORT = (PYTHON, "-c", "import tensorflow")


@dataclass(frozen=True)
class Amount:
    """How much is measured. `--quick` takes the least, to see that everything runs."""

    repeats: int
    images: int
    steps: int
    epochs: int | None  # of the baseline and, if 1, of each of the notebook's trainings; None: all


@dataclass(frozen=True)
class Side:
    """One side of a row.

    values: what was measured, once a repeat. core_seconds: that the cores worked for each, None
    where only the clock was read. peak_bytes: of the largest process of all repeats.
    """

    what: str
    values: tuple[float, ...]
    core_seconds: tuple[float, ...] | None
    peak_bytes: int


@dataclass(frozen=True)
class Row:
    """One line of the table: in `unit`, ours and what a person would do instead."""

    what: str
    unit: str
    ours: Side
    instead: Side

    @property
    def times(self) -> float:
        """How many times faster we are, by the clock."""
        ours, other = median(self.ours.values), median(self.instead.values)
        return ours / other if self.unit.endswith("/s") else other / ours

    @property
    def times_by_cores(self) -> float | None:
        """The same by what the cores worked; None where one side does not know, and for rates."""
        ours, other = self.ours.core_seconds, self.instead.core_seconds
        if self.unit != "s" or ours is None or other is None:
            return None
        return median(other) / median(ours)


def experiment_rows(
    ours: Place, others: Place, amount: Amount, parts: dict, notebook_bytes: int
) -> list[Row]:
    """`dvc exp run` with one changed parameter and `dvc repro` with none, beside `import
    tensorflow` and the notebook's parts."""
    heads, imports, unchanged = [], [], []
    for repeat in range(amount.repeats):
        heads.append(experiment(ours, f"train_head.units={96 + repeat}"))
        imports.append(run(others, IMPORT))
        unchanged.append(run(ours, [*DVC, "repro"]))
    tuned = experiment(ours, "finetune.learning_rate=0.000033")
    log = json.loads((ours.folder / "logs/finetune.json").read_text(encoding="utf-8"))
    training = Side(
        "of it, the stage finetune", (log["seconds"],), (log["core_seconds"],), log["peak_bytes"]
    )
    rest = Timed(
        tuned.seconds - log["seconds"], tuned.core_seconds - log["core_seconds"], tuned.peak_bytes
    )
    tensorflow = side("import tensorflow", imports)

    def again(*names: str) -> Side:
        seconds = sum(parts[name]["seconds"] for name in names)
        return Side(f"the notebook: {', '.join(names)}", (seconds,), None, notebook_bytes)

    head = side("dvc exp run", heads)
    return [
        Row("another head (train_head.units)", "s", head, tensorflow),
        Row("the same", "s", head, again("start", "head")),
        Row(
            "another rate (finetune.learning_rate)",
            "s",
            side("dvc exp run", [tuned]),
            again("start", "finetuned"),
        ),
        Row("of it, the training", "s", training, again("finetuned")),
        Row("of it, the rest", "s", side("dvc exp run", [rest]), tensorflow),
        Row("nothing changed", "s", side("dvc repro", unchanged), tensorflow),
    ]


def experiment(ours: Place, change: str) -> Timed:
    """An experiment with one changed parameter; it stays in the clone's workspace."""
    return run(ours, [*DVC, "exp", "run", "--set-param", change])


def predict_rows(
    ours: Place, others: Place, amount: Amount, image: Path, beside: dict[str, list[str]]
) -> list[Row]:
    """The first row of `predict` for one image, beside a script in Keras and further commands."""
    predict = [PYTHON, "-m", "transfer", "predict", "--format", "jsonl"]
    commands = {"a script in Keras": [*KERAS, "predict"], **beside}
    # its training has left a converted model, which a clone that pulls the models has not
    shutil.rmtree(ours.folder / FOLDER, ignore_errors=True)
    say("predict, first use")
    first = time_rows(ours, predict, image, 1)
    mine: list[Timed] = []
    theirs: dict[str, list[Timed]] = {name: [] for name in commands}
    for _ in range(amount.repeats):
        say("predict")
        mine.append(time_rows(ours, predict, image, 1))
        for name, command in commands.items():
            theirs[name].append(time_rows(others, command, image, 1))
    sides = {name: side(name, timings, to_first_row=True) for name, timings in theirs.items()}
    first_use = side("predict, which converts the model", [first], to_first_row=True)
    return [
        Row(
            "predict: first row, first use of a model",
            "s",
            first_use,
            sides["a script in Keras"],
        ),
        *(
            Row("predict: first row", "s", side("predict", mine, to_first_row=True), other)
            for other in sides.values()
        ),
    ]


def scratch_row(stages: Sequence[StageTime], others: Place, images: Path, amount: Amount) -> Row:
    """The baseline's training without its imports, from the run from nothing, beside the same
    network in Keras, with images augmented as they are read."""
    say("the baseline in Keras")
    ours = next(each for each in stages if each.name == "train_scratch")
    params = yaml.safe_load((others.folder / "params.yaml").read_text(encoding="utf-8"))
    epochs = amount.epochs or params["train_scratch"]["epochs"]
    words = ["scratch", "--folder", str(images), "--epochs", str(epochs)]
    numbers, timed = others.read_numbers([*KERAS, *words, *TO_FILE])
    return Row(
        f"train_scratch, {epochs} epochs, imports left out",
        "s",
        Side("the stage", (ours.work,), (ours.work_cores,), ours.peak_bytes),
        Side("Keras's fit", (numbers["value"],), None, timed.peak_bytes),
    )


def part_rows(ours: Place, others: Place, amount: Amount) -> list[Row]:
    """A step of the head and the frozen pass, in processes of their own, beside Keras; the frozen
    pass on a GPU too where there is one."""
    steps, images = ["--steps", str(amount.steps)], ["--images", str(amount.images)]
    # Keras takes a GPU wherever it sees one
    without_gpu = replace(others, environment={**others.environment, "CUDA_VISIBLE_DEVICES": "-1"})
    rows = [
        compare_part("one step of train_head", "ms", amount, ours, others, ["head_step", *steps]),
        compare_part(
            "frozen pass, CPU", "images/s", amount, ours, without_gpu, ["frozen_pass", *images]
        ),
    ]
    if gpu_names() and sees_gpu(ours):
        gpu = ["--device", "gpu"]
        rows.append(
            compare_part(
                "frozen pass, GPU", "images/s", amount, ours, others, ["frozen_pass", *images], gpu
            )
        )
    return rows


def sees_gpu(ours: Place) -> bool:
    """Whether the backend that is installed sees the card that the system has; says so if not."""
    numbers, _ = ours.read_numbers([*PARTS, "sees_gpu", *TO_FILE])
    if not numbers["value"]:
        say("the backend sees no GPU, so there is no row for it (docs/gpu.md has the set-up)")
    return numbers["value"]


def compare_part(
    what: str,
    unit: str,
    amount: Amount,
    ours: Place,
    others: Place,
    words: Sequence[str],
    own: Sequence[str] = (),
) -> Row:
    """One row of a number that both sides measure in processes of their own, in turns.

    Args:
        words: the kind of measurement and its size, for both sides. own: further words for ours.
    """
    mine, theirs = [], []
    for _ in range(amount.repeats):
        say(what)
        mine.append(ours.read_numbers([*PARTS, *words, *own, *TO_FILE]))
        theirs.append(others.read_numbers([*KERAS, *words, *TO_FILE]))
    sides = (
        Side(
            name,
            tuple(numbers["value"] for numbers, _ in runs),
            None,
            max(timed.peak_bytes for _, timed in runs),
        )
        for name, runs in (("the stage's code", mine), ("Keras's own", theirs))
    )
    return Row(what, unit, *sides)


def side(what: str, runs: Sequence[Timed], to_first_row: bool = False) -> Side:
    """A side of a row from whole commands, or from their times to the first row."""
    return Side(
        what,
        tuple(timed.first_row if to_first_row else timed.seconds for timed in runs),
        tuple(timed.core_seconds for timed in runs),
        max(timed.peak_bytes for timed in runs),
    )


def run(place: Place, command: Sequence[str]) -> Timed:
    """Run a command and say so."""
    say(" ".join(command[1:]))
    return place.run(command)


STARTED = time.perf_counter()


def say(words: str) -> None:
    """Print progress on standard error, with the seconds since the start."""
    print(f"{time.perf_counter() - STARTED:6.0f} s  {words}", file=sys.stderr, flush=True)
