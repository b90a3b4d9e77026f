"""The pipeline beside the lesson's notebook on this machine: `make bench`.

In a clone of the last commit, with the weights obtained beforehand for both (a download is no
matter of speed): `dvc repro` from nothing, the lesson (benchmarks/lesson.py), then `dvc repro`
after the augmented head's learning rate has changed, after fine-tuning's, and after nothing has;
last `dvc repro` from nothing once more, in a second clone, since the speed of a shared machine
drifts. Whole processes are timed, DVC and imports included. What the lesson must do after a change
is the sum of its parts from that change on. Prints the machine and one table.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from transfer.runtime.cores import available_cores
from transfer.runtime.dvc_files import stage_names

MODELS = ("head", "augmented", "finetuned")
DVC = (sys.executable, "-m", "dvc")


@dataclass(frozen=True)
class Timed:
    """Seconds of a whole command, peak_bytes of its largest process, and test accuracy by model."""

    seconds: float
    peak_bytes: int
    accuracy: dict[str, float]


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        first, second = (clone(Path(folder) / name) for name in ("first", "second"))
        cold = [reproduce(first)]
        stages = pd.DataFrame({"imports": import_seconds(first), "work": stage_seconds(first)})
        lesson = run_lesson(first)
        after_augmented, after_finetune = (
            reproduce(change_rate(first, stage)) for stage in ("train_augmented", "finetune")
        )
        idle = reproduce(first)
        cold.append(reproduce(second))
        parts = json.loads((first / "logs" / "lesson.json").read_text())
    seconds = {part: parts[part]["seconds"] for part in ("start", "extract", *MODELS)}
    both_trainings = seconds["start"] + seconds["augmented"] + seconds["finetuned"]
    rows = {
        "from nothing, first time": (lesson.seconds, cold[0]),
        "from nothing, second time": (lesson.seconds, cold[1]),
        "after another rate of the augmented head": (both_trainings, after_augmented),
        "after another rate of fine-tuning": (
            seconds["start"] + seconds["finetuned"],
            after_finetune,
        ),
        "after nothing": (lesson.seconds, idle),
    }
    print(table(rows, lesson).to_string())
    print(
        f"\nLargest process: the lesson {lesson.peak_bytes / 1e6:.0f} MB. The lesson's parts, in "
        "seconds:"
    )
    print(", ".join(f"{part} {value:.0f}" for part, value in seconds.items()))
    for part, stage in (("augmented", "train_augmented"), ("finetuned", "finetune")):
        ours = stages.loc[stage, "work"]
        print(
            f"{stage}, the training itself: lesson {seconds[part]:.0f} s, ours {ours:.1f} s, "
            f"{seconds[part] / ours:.1f} times"
        )
    print(
        "\nOur stages from nothing, first time, seconds of imports and of "
        f"work:\n{stages.round(1).to_string()}"
    )
    print(f"DVC and the rest: {cold[0].seconds - stages.drop(index='weights').sum().sum():.1f} s")
    rate = matrix_rate()
    print(f"Matrix products reach {rate / 1e9:.0f} GFLOP/s (float32, 2048 x 2048)")


def describe_machine() -> str:
    cpu = platform.processor() or platform.machine()
    if (information := Path("/proc/cpuinfo")).exists():
        cpu = next(
            line.split(":", 1)[1].strip()
            for line in information.read_text().splitlines()
            if line.startswith("model name")
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "dvc"))
    return (
        f"{cpu}, {available_cores()} cores, {memory:.0f} GiB, {platform.system()}, Python "
        f"{platform.python_version()}, {packages}"
    )


def clone(folder: Path) -> Path:
    """A clone of the last commit that has the weights and nothing else."""
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    subprocess.run(
        [*DVC, "repro", "--quiet", "weights"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return folder


def reproduce(folder: Path) -> Timed:
    seconds, peak = timed([*DVC, "repro"], folder)
    found = json.loads((folder / "metrics/accuracy.json").read_text())
    accuracy = {model: found[model] for model in MODELS}
    return Timed(seconds, peak, accuracy)


def run_lesson(folder: Path) -> Timed:
    seconds, peak = timed(
        [sys.executable, "-m", "benchmarks.lesson", "--output", "logs/lesson.json"], folder
    )
    parts = json.loads((folder / "logs" / "lesson.json").read_text())
    return Timed(seconds, peak, {model: parts[model]["accuracy"] for model in MODELS})


def timed(command: list[str], folder: Path) -> tuple[float, int]:
    """Seconds of the whole command, and the peak resident bytes of the largest process in it."""
    print(f"running: {' '.join(command[1:])}", flush=True)
    started = time.time()
    with (folder / "logs.txt").open("ab") as log:
        process = subprocess.Popen([*command], cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'logs.txt').read_text()[-3000:]}")
    return time.time() - started, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def stage_seconds(folder: Path) -> dict[str, float]:
    """What each stage said that it took, imports left out, in the order of dvc.yaml."""
    pipeline = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))
    return {
        stage: json.loads((folder / "logs" / f"{stage}.json").read_text())["seconds"]
        for stage in stage_names(pipeline["stages"])
    }


def import_seconds(folder: Path) -> dict[str, float]:
    """What starting each stage takes before it does anything, Python and imports."""
    return {
        stage: timed([sys.executable, "-m", f"stages.{stage.partition('@')[0]}", "--help"], folder)[
            0
        ]
        for stage in stage_seconds(folder)
    }


def matrix_rate(size: int = 2048) -> float:
    """FLOP/s of the best of five products of float32 matrices on all cores."""
    matrix = np.random.default_rng(0).random((size, size), dtype=np.float32)
    seconds = []
    for _ in range(5):
        started = time.time()
        matrix @ matrix
        seconds.append(time.time() - started)
    return 2 * size**3 / min(seconds)


def change_rate(folder: Path, stage: str) -> Path:
    """Raise a stage's learning rate by a tenth; the folder again."""
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params[stage]["learning_rate"] *= 1.1
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return folder


def table(rows: dict[str, tuple[float, Timed]], lesson: Timed) -> pd.DataFrame:
    """One row per run: seconds of both, their ratio, our largest process,
    and both's accuracies by model."""
    columns = {
        "lesson s": [f"{seconds:.0f}" for seconds, _ in rows.values()],
        "ours s": [f"{ours.seconds:.1f}" for _, ours in rows.values()],
        "times": [f"{seconds / ours.seconds:.1f}" for seconds, ours in rows.values()],
        "ours MB": [f"{ours.peak_bytes / 1e6:.0f}" for _, ours in rows.values()],
        "accuracy, lesson": [" ".join(f"{lesson.accuracy[model]:.3f}" for model in MODELS)]
        * len(rows),
        "accuracy, ours": [
            " ".join(f"{ours.accuracy[model]:.3f}" for model in MODELS) for _, ours in rows.values()
        ],
    }
    return pd.DataFrame(columns, index=list(rows))


if __name__ == "__main__":
    main()
