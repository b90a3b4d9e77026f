"""The search: trials, their table and pictures, and what the best one is worth."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import optuna
import pandas as pd
from matplotlib import pyplot
from optuna.trial import create_trial
from optuna.visualization.matplotlib import plot_optimization_history, plot_slice

from transfer.commands.sweep.space import Space, read_spaces
from transfer.commands.sweep.trainings import TRAININGS, Scores, measure, paired
from transfer.commands.use.params_file import Value, rendered
from transfer.dataset.manifest import labels_of, read_manifest
from transfer.labels.listing import count_of
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write, write_csv
from transfer.runtime.params import Params, load_params

# random trials before TPE; Optuna's default of ten would be half of a sweep of twenty
RANDOM_TRIALS = 5


@dataclass(frozen=True)
class Trial:
    """tried: values by name. scores: one per seed, or none if the training failed, which `reason`
    then explains."""

    number: int
    tried: dict[str, Value]
    scores: list[Scores]
    reason: str = ""

    @property
    def loss(self) -> float:
        return statistics.fmean(score.loss for score in self.scores)

    @property
    def accuracy(self) -> float:
        return statistics.fmean(score.accuracy for score in self.scores)


def main(options: argparse.Namespace) -> None:
    """Search the sections of the space one after another, and print the results."""
    # the folder in which an interrupted training finds its checkpoint again
    os.environ["DVC_ROOT"] = str(Path.cwd())
    try:
        params = {
            section: load_params(training.params, section)
            for section, training in TRAININGS.items()
        }
        spaces = read_spaces(options.space, params)
        check_caches()
        for space in spaces:
            sweep(space, params, options)
    except KeyboardInterrupt:
        sys.exit("sweep: stopped; the same command continues from here")


def check_caches() -> None:
    """Raise PipelineError if the cached arrays are not those of params.yaml, because the results
    would not apply to it."""
    words = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", "extract", "augment"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603, fixed words
    if told.returncode:
        raise PipelineError(f"`dvc status` says: {told.stderr.strip()}")
    if changed := json.loads(told.stdout):
        raise PipelineError(
            f"the cached arrays are out of date: `dvc repro` would run {', '.join(changed)}; do "
            "that first"
        )


def sweep(space: Space, params: Mapping[str, Params], arguments: argparse.Namespace) -> None:
    """One study: its table, its pictures, and what it found.

    Args:
        params: params.yaml's section of each training.
    """

    def train(values: dict[str, Value], shift: int) -> Scores:
        return measure(arguments.output / "trainings", params, space.section, values, shift)

    table = arguments.output / f"{space.section}.csv"
    trials: list[Trial] = []
    for trial in search(space, arguments.trials, arguments.seeds, arguments.seed, train):
        trials.append(trial)
        write_table(table, trials, arguments.seeds)
        print(progress(space, trials, arguments.trials), flush=True)
    draw(arguments.output, space, trials)
    best, further = best_of(trials), range(arguments.seeds, arguments.seeds + arguments.further)
    try:
        again = (
            [[train(values, shift) for values in (space.defaults, best.tried)] for shift in further]
            if best.number
            else []
        )
    except PipelineError as error:
        print(
            f"\n{space.section}: the best, trial {best.number}, fails with a further seed: "
            f"{error}\n",
            flush=True,
        )
        return
    n_images = len(labels_of(read_manifest(), "validation"))
    print(f"\n{report(space, trials, again, n_images=n_images)}\n", flush=True)


def search(
    space: Space, trials: int, seeds: int, seed: int, train: Callable[[dict, int], Scores]
) -> Iterator[Trial]:
    """Draw trials, train them and report them to the sampler, one after another; all of them follow
    from the arguments.

    If a training fails because its loss is not finite or its parameters contradict each other, TPE
    ranks the trial below all others. Optuna's own storage is not used: a killed trial would keep
    its number there, and the sampler's state would be lost.

    Raises:
        PipelineError: params.yaml's own training fails.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    )
    study.enqueue_trial(space.defaults)
    for number in range(trials):
        drawn = study.ask(space.distributions)
        values = space.tried(drawn.params) if number else space.defaults
        try:
            trial = Trial(number, values, [train(values, shift) for shift in range(seeds)])
        except PipelineError as error:
            if number == 0:
                raise
            trial = Trial(number, values, [], str(error))
            study.tell(drawn, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(drawn, trial.loss)
        yield trial


def best_of(trials: list[Trial]) -> Trial:
    return min((trial for trial in trials if trial.scores), key=lambda trial: trial.loss)


def write_table(path: Path, trials: list[Trial], seeds: int) -> None:
    """One row per trial: mean and standard deviation over seeds, the tried values, the loss of each
    seed, and the reason of a failure."""
    by_seed = [f"loss_{shift}" for shift in range(seeds)]
    header = ["trial", "loss", "loss_sd", "accuracy", *trials[0].tried, *by_seed, "reason"]
    write_csv(path, header, [_row(trial, seeds) for trial in trials])


def draw(folder: Path, space: Space, trials: list[Trial]) -> None:
    """Draw the trials as Optuna does: SECTION.png has the validation loss by trial with the best so
    far, SECTION_parameters.png the loss by each varied parameter. Failed trials are left out."""
    study = optuna.create_study()
    study.add_trials(
        [
            create_trial(params=trial.tried, distributions=space.distributions, value=trial.loss)
            for trial in trials
            if trial.scores
        ]
    )
    matplotlib.use("agg")
    plots = {"": plot_optimization_history, "_parameters": plot_slice}
    for suffix, plot in plots.items():
        # Optuna warns that these may change, and Matplotlib of an axis with a single value.
        with warnings.catch_warnings(action="ignore"):
            figure = np.ravel(plot(study))[0].figure
        with atomic_write(folder / f"{space.section}{suffix}.png") as temporary:
            figure.savefig(temporary, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(figure)


def _row(trial: Trial, seeds: int) -> list:
    values = [rendered(value) for value in trial.tried.values()]
    if not trial.scores:
        return [trial.number, "", "", "", *values, *[""] * seeds, trial.reason]
    losses = [score.loss for score in trial.scores]
    deviation = statistics.stdev(losses) if seeds > 1 else ""
    return [trial.number, trial.loss, deviation, trial.accuracy, *values, *losses, ""]


def progress(space: Space, trials: list[Trial], of: int) -> str:
    trial, best = trials[-1], best_of(trials)
    outcome = f"validation loss {trial.loss:.4f}" if trial.scores else f"failed: {trial.reason}"
    tried = " ".join(f"{name}={rendered(value)}" for name, value in trial.tried.items())
    return (
        f"{space.section}, trial {trial.number} ({trial.number + 1} of {of}): {outcome}; best "
        f"{best.loss:.4f}, trial {best.number}; {tried}"
    )


def report(space: Space, trials: list[Trial], again: list[list[Scores]], n_images: int) -> str:
    """Summarise what the study found, without claiming more than the data shows.

    Args:
        again: the scores of params.yaml and of the best trial, one pair per further seed; none if
            they are the same.
        n_images: of the validation split.
    """
    first, best, failed = trials[0], best_of(trials), sum(not trial.scores for trial in trials)
    lines = [
        f"{space.section}: {count_of(len(trials), 'trial')}, "
        f"{count_of(len(first.scores), 'seed')} each{f', {failed} failed' if failed else ''}",
        f"  params.yaml, trial 0: validation loss {_spread(first)}, accuracy {first.accuracy:.3f}",
    ]
    if not best.number:
        return "\n".join([*lines, "  No trial was better than params.yaml."])
    lines.append(
        f"  the best, trial {best.number}: validation loss {_spread(best)}, accuracy "
        f"{best.accuracy:.3f}"
    )
    lines.append(
        f"  On {len(again)} further seeds, which did not choose it, the best and its difference "
        "from params.yaml:"
    )
    for name, unit in (("loss", "validation loss"), ("accuracy", "accuracy")):
        ours, theirs = (
            pd.Series([getattr(score, name) for score in scores])
            for scores in zip(*again, strict=True)
        )
        mean, low, high, _ = paired(theirs, ours)
        lines.append(
            f"    {unit} {theirs.mean():.4f}, {mean:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
        )
        if name == "loss":
            verdict = (
                "lower than params.yaml's"
                if high < 0
                else "not shown to be lower than params.yaml's"
            )
    chance = (best.accuracy * (1 - best.accuracy) / n_images) ** 0.5
    lines += [
        f"  So its loss is {verdict}, on these {n_images} images. They chose it, and they judge "
        "it: the interval covers the chance of the",
        f"  trainings, not theirs. Other {n_images} would move its accuracy by {chance:.3f} "
        "(standard deviation) by chance alone.",
        f"\n    {space.command(best.tried)}",
    ]
    return "\n".join(lines)


def _spread(trial: Trial) -> str:
    losses = [score.loss for score in trial.scores]
    return f"{trial.loss:.4f}{f' (sd {statistics.stdev(losses):.4f})' if len(losses) > 1 else ''}"
