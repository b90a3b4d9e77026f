"""The pipeline on this machine, each row beside what a person would do instead: `make bench`.

    python -m benchmarks.bench --json bench.json
    python -m benchmarks.bench --beside 'timm=/path/to/python benchmarks/timm_first_row.py'

All of it runs in clones of the last commit in a temporary folder, which is removed afterwards, also
after Ctrl-C. Weights are obtained beforehand for both sides: a download is no matter of speed.

- `dvc repro` from nothing, of all stages and of those that do what the lesson's notebook does,
  beside the notebook (benchmarks/lesson.py), which runs whole;
- `dvc exp run` with another head and another rate of fine-tuning, and `dvc repro` with nothing
  changed, beside `import tensorflow` and the parts of the notebook that a person would run again;
- the first row of `python -m transfer predict`, the baseline's training, a step of the head and the
  frozen pass, beside the same in Keras alone (benchmarks/plain_keras.py).

Whole processes are timed unless a row says otherwise, DVC and imports included. What a person would
do instead is not held to AVX2, as the pipeline is. Short rows are repeated, both sides in turns;
the table has the median, and the least and the most in parentheses. MB is the resident memory of
the largest process. `times` is how many times faster the pipeline is, by the clock, and by what the
cores worked, which other programs on the machine change less.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import chdir
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from benchmarks.bench_rows import (
    PARTS,
    PYTHON,
    TO_FILE,
    Amount,
    Row,
    Side,
    experiment_rows,
    part_rows,
    predict_rows,
    run,
    say,
    scratch_row,
    side,
)
from benchmarks.first_row import copy_images, read_commands, time_rows
from benchmarks.measuring import (
    DVC,
    Place,
    Timed,
    as_table,
    clone_commit,
    describe_machine,
    has_changes,
    machine_lines,
    number,
    obtain_weights,
    spread,
    stopped_by_signals,
)
from benchmarks.stage_times import StageTime, read_stage_times, stage_table
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json
from transfer.runtime.program import run_program

LESSON = (PYTHON, "-P", "benchmarks/lesson.py")
MODELS = ("head", "augmented", "finetuned")
LESSON_STAGES = tuple(f"evaluate@{name}" for name in MODELS)

FULL = Amount(repeats=3, images=480, steps=1000, epochs=None)
QUICK = Amount(repeats=1, images=8, steps=20, epochs=1)


def main() -> None:
    """Measure all rows, print the table, and write it as JSON if that is asked for."""
    arguments = parse()
    started = time.perf_counter()
    machine = describe_machine()
    print(machine_lines(machine), flush=True)
    with stopped_by_signals(), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ours, others = clone_commit(Path(folder), Path.cwd())
        commit = check_commit(ours)
        say(f"commit {commit}, in clones below {folder}")
        if has_changes(Path.cwd()):
            say("what is not committed is not measured")
        obtain_weights(ours, Path.cwd())
        measured = measure(
            ours, others, QUICK if arguments.quick else FULL, read_commands(arguments.beside)
        )
    seconds = time.perf_counter() - started
    print("\n" + show(measured, seconds, is_quick=arguments.quick))
    if arguments.json:
        content = {
            "machine": machine,
            "commit": commit,
            "is_quick": arguments.quick,
            "seconds": seconds,
            **asdict(measured),
            "rows": [
                {**asdict(row), "times": row.times, "times_by_cores": row.times_by_cores}
                for row in measured.rows
            ],
        }
        write_json(arguments.json, content)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same as JSON too")
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another command for the rows of predict (python -m benchmarks.first_row --help)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one repeat of the least of everything: shows that it runs, and no figure counts",
    )
    return parser.parse_args()


@dataclass(frozen=True)
class Measured:
    """All that was found.

    stages: of the run from nothing. accuracy: on the test images, by model and side. rates:
    GFLOP/s that matrix products reach, to compare machines by.
    """

    rows: list[Row]
    stages: list[StageTime]
    from_nothing: Timed
    accuracy: dict[str, dict[str, float]]
    matrix_gflops: float


def measure(ours: Place, others: Place, amount: Amount, beside: dict[str, list[str]]) -> Measured:
    """Run everything in the clone and in a copy of it; the rows of the table.

    Args:
        ours, others: the clone with the weights, from `clone_commit`.
        beside: further commands that predict, by name.
    """
    with chdir(ours.folder):
        image = copy_images(ours.log.with_name("to_predict"), 1)
    for command in beside.values():
        # one that does not work is found now, and not after half an hour
        time_rows(others, command, image, 1)
    fresh = copy_of(ours, "fresh")
    began = time.time()
    whole = run(ours, [*DVC, "repro"])
    stages = read_stage_times(ours.folder, began)
    images = ours.log.with_name("images")
    ours.run([PYTHON, "-m", "benchmarks.split_folders", str(images)])
    lesson, parts = run_lesson(others, images, amount)
    same_stages = run(fresh, [*DVC, "repro", *LESSON_STAGES])
    rows = [
        Row("from nothing: all stages", "s", side("dvc repro", [whole]), lesson),
        Row(
            "from nothing: what the notebook does",
            "s",
            side(f"dvc repro {' '.join(LESSON_STAGES)}", [same_stages]),
            lesson,
        ),
        *experiment_rows(ours, others, amount, parts, lesson.peak_bytes),
        *predict_rows(ours, others, amount, image, beside),
        scratch_row(stages, others, images, amount),
        *part_rows(ours, others, amount),
    ]
    accuracy = {
        "pipeline": json.loads((ours.folder / "metrics/accuracy.json").read_text()),
        "notebook": {name: parts[name]["accuracy"] for name in MODELS},
    }
    product, _ = ours.read_numbers([*PARTS, "matrix_product", *TO_FILE])
    return Measured(rows, stages, whole, accuracy, product["value"])


def copy_of(ours: Place, name: str) -> Place:
    """A place with a copy of the clone as it is now, in which nothing has run but the weights."""
    folder = ours.folder.with_name(name)
    ours.run(["cp", "-a", str(ours.folder), str(folder)])
    return replace(ours, folder=folder)


def check_commit(ours: Place) -> str:
    """The clone's commit, by its first letters.

    Raises:
        PipelineError: its parameters are not those that the notebook has.
    """
    params = yaml.safe_load((ours.folder / "params.yaml").read_text(encoding="utf-8"))
    if params["backbone"]["name"] != "VGG16":
        raise PipelineError(
            f"backbone.name is {params['backbone']['name']} in the last commit, but the notebook "
            "that the pipeline is compared with has VGG16; commit that, or check out a commit that "
            "has it"
        )
    source = ours.folder / params["split"]["source"]
    if not source.exists():
        raise PipelineError(
            f"split.source = {params['split']['source']!r} is not in the last commit, and only "
            "that is measured; commit the images, or check out a commit of the sample's"
        )
    head = (ours.folder / ".git/HEAD").read_text().strip()
    reference = ours.folder / ".git" / head.removeprefix("ref: ")
    return (reference.read_text().strip() if head.startswith("ref: ") else head)[:12]


def run_lesson(others: Place, images: Path, amount: Amount) -> tuple[Side, dict]:
    """The whole notebook, and the seconds and accuracy of each of its parts."""
    say("the lesson's notebook (the longest part: ten minutes and more)")
    words = [*LESSON, "--images", str(images), *TO_FILE]
    parts, timed = others.read_numbers(words + ["--short"] * (amount.epochs == 1))
    return side("the lesson's notebook", [timed]), parts


def show(measured: Measured, seconds: float, is_quick: bool) -> str:
    """All tables, as they are printed."""
    header = ["", "pipeline", "unit", "MB", "instead", "", "MB", "times", "by cores"]
    rows = [
        [
            row.what,
            spread(row.ours.values),
            row.unit,
            f"{row.ours.peak_bytes / 1e6:,.0f}",
            row.instead.what,
            spread(row.instead.values),
            f"{row.instead.peak_bytes / 1e6:,.0f}",
            number(row.times),
            "" if row.times_by_cores is None else number(row.times_by_cores),
        ]
        for row in measured.rows
    ]
    pipeline, notebook = measured.accuracy["pipeline"], measured.accuracy["notebook"]
    accuracies = [
        [name, f"{pipeline[name]:.3f}", f"{notebook[name]:.3f}" if name in notebook else ""]
        for name in pipeline
    ]
    parts = [
        as_table(header, rows),
        "Stages from nothing:\n" + stage_table(measured.stages, measured.from_nothing),
        "Accuracy on the test images:\n" + as_table(["", "pipeline", "notebook"], accuracies),
        f"Matrix products reach {measured.matrix_gflops:.0f} GFLOP/s (float32, 2048 x 2048, within "
        f"AVX2). All of this took {seconds / 60:.0f} minutes.",
    ]
    if is_quick:
        parts.append("--quick: one repeat of the least of everything. No figure above counts.")
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(run_program("bench", main))
