"""`make run`: repair what a killed DVC left, run what changed, and print the results, the seconds,
and which outputs have the bytes of the commit."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from transfer.classifiers.names import MODELS
from transfer.commands.committed import NoCommitError, read_committed, say
from transfer.commands.repair import print_repairs
from transfer.dataset.scored_split import TEST, cautions, split_of, title_note
from transfer.runtime.dvc_files import (
    described_stages,
    locked_stages,
    read_pins,
    read_stage,
    stage_names,
)
from transfer.runtime.environment import describe_environment
from transfer.runtime.pins import in_use, unlike_pins
from transfer.runtime.stage import LOGS

SCORES = Path("metrics/evaluation.json")  # by model, in the pipeline's order
PASSED_ON = "Other words are passed on to `dvc repro`: python -m transfer run --force train_head"


def main(argv: list[str]) -> None:
    """Run `dvc repro` with these words, print the models' table;
    exits with DVC's code if that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m transfer run", description=__doc__, epilog=PASSED_ON, allow_abbrev=False
    )
    _, words = parser.parse_known_args(argv)
    started = time.time()
    print_repairs("run")
    finished = subprocess.run([sys.executable, "-m", "dvc", "repro", *words], check=False)  # noqa: S603, no shell
    if finished.returncode:
        sys.exit(finished.returncode)
    print(f"\n{results(started)}\n")
    print(f"The whole run took {time.time() - started:.0f} s.")
    print(say_of_commit())


def results(started: float) -> str:
    """The models' table and what has to be said beside it, or that there are no scores, as after
    `run split` in a new project.

    Args:
        started: when this run began (`time.time()`).
    """
    if not SCORES.exists():
        return (
            f"There are no scores yet ({SCORES} is missing): python -m transfer run, without the "
            "name of a stage, runs all stages."
        )
    metrics = json.loads(SCORES.read_text(encoding="utf-8"))
    pipeline = {name: read_stage(name) for name in stage_names(described_stages())}
    seconds = seconds_since(started, pipeline)
    table = summarise(pipeline, seconds, metrics).to_string(index=False)
    where = "All results: plots/report.html. Compare: dvc exp show."
    return "\n\n".join([table, *cautions(scored_by(metrics)), where])


def seconds_since(started: float, stages: Iterable[str]) -> dict[str, float]:
    """Seconds of each of the stages that has run since `started`, by its name."""
    files = {name: LOGS / f"{name}.json" for name in stages}
    logs = {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.exists()
    }
    return {name: log["seconds"] for name, log in logs.items() if log["started"] >= started}


def scored_by(metrics: Mapping[str, dict]) -> str:
    """The split whose images the scores by model are of."""
    return next((split_of(scores) for scores in metrics.values()), TEST)


def summarise(
    pipeline: dict, seconds: dict[str, float], metrics: Mapping[str, dict]
) -> pd.DataFrame:
    """One row per model: accuracy with its 95 % interval, the seconds of all stages run for it,
    which ones ran, which were reused.

    Args:
        metrics: scores by model, as SCORES has them.
    """
    rows, note = [], title_note(scored_by(metrics))
    for name, scores in metrics.items():
        needed = stages_behind(pipeline, f"{MODELS}/{name}")
        ran = [stage for stage in needed if stage in seconds]
        rows.append(
            {
                "model": name,
                f"accuracy (95 % interval){note}": (
                    f"{scores['accuracy']:.3f} ({scores['accuracy_low']:.3f} to "
                    f"{scores['accuracy_high']:.3f})"
                ),
                "seconds": f"{sum(seconds[stage] for stage in ran):.1f}",
                "run now": ", ".join(ran) or "nothing",
                "reused from the cache": ", ".join(
                    stage for stage in needed if stage not in seconds
                )
                or "nothing",
            }
        )
    return pd.DataFrame(rows)


def say_of_commit() -> str:
    """One line that says which outputs have the bytes of the commit, or why they cannot be
    compared."""
    try:
        committed = read_committed()
    except NoCommitError as reason:
        return f"Whether the outputs are the bytes of a commit is not known: {reason}."
    return say(
        locked_stages(),
        committed,
        describe_machine(describe_environment(), unlike_pins(in_use(), read_pins())),
    )


def describe_machine(environment: dict, other_versions: Sequence[str]) -> str:
    """What may change the last bits: the processor and its instructions, the C library, Python,
    variables that control libraries, versions that are not the pinned ones.

    Args:
        environment: from `describe_environment`.
        other_versions: from `unlike_pins`.
    """
    variables = [f"{name}={value}" for name, value in environment["variables"].items()]
    instructions = (
        f" ({' '.join(environment['instructions'])})" if environment["instructions"] else ""
    )
    return ", ".join(
        [
            f"{environment['processor']}{instructions}",
            *([environment["c_library"]] if environment["c_library"] else []),
            f"Python {environment['python']}",
            *variables,
            *other_versions,
        ]
    )


def stages_behind(pipeline: dict, output: str) -> list[str]:
    """The stages that `output` needs, directly or through others, in the order of `pipeline`.

    Args:
        pipeline: from `read_stage`, by the stage's name.
    """
    makers = {
        path: name
        for name, stage in pipeline.items()
        for path in stage.get("outs", [])
        if isinstance(path, str)
    }
    needed, pending = set(), [output]
    while pending:
        maker = makers.get(pending.pop())
        if maker and maker not in needed:
            needed.add(maker)
            pending += pipeline[maker]["deps"]
    return [name for name in pipeline if name in needed]
