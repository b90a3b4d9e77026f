"""Compare the models that `evaluate` scored: one table of scores, one table per curve, and the
tests between pairs of models. Neither Keras nor TensorFlow is needed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt

from transfer.classifiers.names import BASELINES, EVALUATION, MODEL_NAMES, NETWORKS, history_file
from transfer.dataset.manifest import read_manifest, split_rows
from transfer.dataset.scored_split import scored_split, split_field
from transfer.evaluation.comparison import compare
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write, write_json, write_table
from transfer.runtime.params import Params, load_params
from transfer.runtime.stage import run_stage

METRICS = Path("metrics")
PLOTS = Path("plots")
CURVES = ("classes", "precision_recall", "predictions", "reliability", "roc")  # of each model


class CompareParams(Params):
    """seed: of the intervals around differences between models."""

    seed: NonNegativeInt


def main() -> None:
    """Join what `evaluate` wrote for each model, and compare the models with each other."""
    params = load_params(CompareParams, "compare")
    manifest = read_manifest()
    split = scored_split(manifest)
    rows, field = split_rows(manifest, split), split_field(split)
    scores = read_scores()
    accuracies = {name: scores[name]["accuracy"] for name in scores}
    write_json(METRICS / "evaluation.json", scores)
    write_json(METRICS / "accuracy.json", field | accuracies)
    write_table(PLOTS / "accuracy.csv", accuracy_table(scores).assign(**field))
    is_right = {name: read_is_right(name, rows) for name in scores}
    compared = compare(is_right, rows["group"].to_numpy(), params.seed, BASELINES)
    write_table(PLOTS / "comparison.csv", compared.assign(**field))
    trained = [name for name in scores if name in NETWORKS]
    write_table(PLOTS / "history.csv", joined({name: history_file(name) for name in trained}))
    for curve in CURVES:
        files = {name: EVALUATION / name / f"{curve}.csv" for name in scores}
        write_table(PLOTS / f"{curve}.csv", joined(files))
    copy_sheets(list(scores))


def read_scores() -> dict[str, dict]:
    """The scores of the models that were not skipped, by name, in the pipeline's order.

    Raises:
        PipelineError: a file is missing or damaged.
    """
    found = {name: read_json(EVALUATION / name / "scores.json") for name in MODEL_NAMES}
    return {name: scores for name, scores in found.items() if scores}


def read_json(path: Path) -> dict:
    """A JSON object; raises PipelineError if it is missing or damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise PipelineError(f"{path} is damaged ({error}); delete it and run `dvc repro`") from None


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file as text, so that its digits stay as they are written; raises PipelineError if it
    is missing or damaged."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    except ValueError as error:
        raise PipelineError(f"{path} is damaged ({error}); delete it and run `dvc repro`") from None


def read_is_right(name: str, scored: pd.DataFrame) -> np.ndarray:
    """Whether a model labelled each image of the scored split rightly, bool (N,).

    Args:
        scored: the manifest's rows of that split.

    Raises:
        PipelineError: its predictions are for images other than those of the manifest.
    """
    path = EVALUATION / name / "predictions.csv"
    predictions = read_table(path)
    if predictions["path"].tolist() != scored["path"].tolist():
        raise PipelineError(f"{path} lists other images than the manifest; run `dvc repro`")
    return (predictions["actual"] == predictions["predicted"]).to_numpy()


def accuracy_table(scores: dict[str, dict]) -> pd.DataFrame:
    """One row per model for the interval plot: model, accuracy, low, high."""
    rows = [
        (name, each["accuracy"], each["accuracy_low"], each["accuracy_high"])
        for name, each in scores.items()
    ]
    return pd.DataFrame(rows, columns=["model", "accuracy", "low", "high"])


def joined(files: dict[str, Path]) -> pd.DataFrame:
    """The rows of the models' tables, one model after the other, with a first column `model`.

    Args:
        files: CSV files with the same columns, by model.
    """
    tables = [read_table(file) for file in files.values()]
    for name, table in zip(files, tables, strict=True):
        table.insert(0, "model", name)
    return pd.concat(tables, ignore_index=True)


def copy_sheets(names: list[str]) -> None:
    """Put each model's contact sheet of mistakes at plots/mistakes/NAME.png, then delete those of
    models that no longer exist."""
    sheets = PLOTS / "mistakes"
    for name in names:
        with atomic_write(sheets / f"{name}.png") as temporary:
            shutil.copyfile(EVALUATION / name / "mistakes.png", temporary)
    for sheet in sheets.glob("*.png"):
        if sheet.stem not in names:
            sheet.unlink()


if __name__ == "__main__":
    run_stage(main)
