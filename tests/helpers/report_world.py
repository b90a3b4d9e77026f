"""Made-up results of a whole pipeline, as `evaluate` and `audit` write them: what the report is
tested on."""

import json
import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from transfer.dataset.manifest import write_manifest
from transfer.dataset.scored_split import split_field
from transfer.report.results import SETTINGS

ROOT = Path(__file__).parents[2]
# the network from scratch was skipped; the reproduced world has it
MODELS = ("head", "augmented", "finetuned")
WORDS = "not defined: no test image of dog"
METRICS = (
    *(
        "balanced_accuracy",
        "macro_f1",
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
        "ece",
        "temperature",
    ),
    *(
        "log_loss_calibrated",
        "brier_calibrated",
        "ece_calibrated",
        "threshold",
        "accuracy_at_threshold",
    ),
)


def write_world(
    project: Path,
    names: Sequence[str] = ("cat", "dog"),
    n_test: int = 20,
    wrong: Sequence[int] = (0, 3, 7),
    absent: Sequence[str] = (),
    defined: bool = True,
    shown: int = 24,
    n_train: int = 12,
    models: Sequence[str] = MODELS,
    split: str = "test",
) -> None:
    """Write everything that the stage reads.

    Args:
        split: what the models are scored on; if it is validation, there are no test images.
        models: the second gets the first of the wrong images right.
        n_test: images of that split.
        wrong: those of them that the models get wrong.
        absent: classes of which the split has no image.
        defined: whether metrics and curves are, or are words and empty tables.
        shown: mistakes with a picture, a model.
    """
    names = sorted(names)
    shutil.copy(ROOT / "params.yaml", project)
    shutil.copy(ROOT / "dvc.yaml", project)
    manifest = make_manifest(names, n_train, n_test, absent)
    if split != "test":
        manifest = manifest[manifest["split"] != split].replace({"split": {"test": split}})
    write_manifest(manifest, project / "data/manifest/manifest.csv")
    table(project / "data/split/rejected.csv", path=[], reason=[])
    table(
        project / "data/split/duplicates.csv",
        group=[],
        split=[],
        path=[],
        class_name=[],
        same_file_in_two_classes=[],
    )
    (project / "plots").mkdir()
    Image.new("RGBA", (32, 32)).save(project / "plots/augmentation.png")
    (project / "data/weights").mkdir()
    (project / "data/weights/backbone.weights.h5").write_bytes(b"weights")
    scored = manifest[manifest["split"] == split].sort_values("path")
    for place, name in enumerate(models):
        write_model(
            project,
            name,
            names,
            scored,
            list(wrong)[1:] if place == 1 else list(wrong),
            defined,
            shown,
        )
    accuracies = {
        name: json.loads((project / f"data/evaluation/{name}/scores.json").read_text())
        for name in models
    }
    table(
        project / "plots/accuracy.csv",
        model=models,
        accuracy=[scores["accuracy"] for scores in accuracies.values()],
        low=[scores["accuracy_low"] for scores in accuracies.values()],
        high=[scores["accuracy_high"] for scores in accuracies.values()],
    )
    n_pairs = len(models) * (len(models) - 1) // 2
    write_comparison(project, ["no difference can be shown"] * n_pairs, models)
    used = manifest[manifest["split"] != "unused"]
    places = np.random.default_rng(1).normal(size=(len(used), 2)).round(4)
    map_file = project / "data/audit/feature_map.csv"
    table(
        map_file,
        x=places[:, 0],
        y=places[:, 1],
        class_name=used["class_name"],
        split=used["split"],
        path=used["path"],
    )
    table(
        project / "data/audit/issues.csv",
        path=used["path"][:3],
        split=used["split"][:3],
        class_name=used["class_name"][:3],
        issue=["label", "outlier", "label"],
        score=[0.4, 0.1, 0.2],
        detail=["looks like another class"] * 3,
    )
    (project / "metrics/audit.json").write_text(
        json.dumps({"images": len(used), "label": 2, "outlier": 1})
    )


def make_manifest(
    names: Sequence[str], n_train: int, n_test: int, absent: Sequence[str]
) -> pd.DataFrame:
    in_test = [name for name in names if name not in absent]
    rows = [("train", names[i % len(names)], i) for i in range(max(n_train, len(names)))]
    rows += [("validation", names[i % len(names)], i) for i in range(4)]
    rows += [("test", in_test[i % len(in_test)], i) for i in range(n_test)]
    manifest = pd.DataFrame(rows, columns=["split", "class_name", "number"])
    manifest["path"] = [
        f"{row.class_name}/{row.split}_{row.number:05}.png" for row in manifest.itertuples()
    ]
    manifest["label"] = manifest["class_name"].map(
        {name: label for label, name in enumerate(names)}
    )
    return manifest.assign(group=range(len(manifest)), sha256="0" * 64)


def write_model(
    project: Path,
    name: str,
    names: Sequence[str],
    scored: pd.DataFrame,
    wrong: list[int],
    defined: bool,
    shown: int,
) -> None:
    actual = scored["class_name"].tolist()
    predicted = [
        names[(names.index(each) + 1) % len(names)] if i in wrong else each
        for i, each in enumerate(actual)
    ]
    accuracy, n = (
        float(np.mean([a == b for a, b in zip(actual, predicted, strict=True)])),
        len(actual),
    )
    scores = split_field(scored["split"].iloc[0]) | {
        "n": n,
        "accuracy": accuracy,
        "accuracy_low": max(0, accuracy - 0.1),
        "accuracy_high": min(1, accuracy + 0.1),
    }
    scores |= {
        metric: round(0.5 + 0.01 * i, 6) if defined else WORDS for i, metric in enumerate(METRICS)
    }
    for folder in ("metrics", f"models/{name}", f"data/evaluation/{name}/mistakes"):
        (project / folder).mkdir(parents=True, exist_ok=True)
    (project / f"data/evaluation/{name}/scores.json").write_text(json.dumps(scores))
    chosen = {SETTINGS[name]: 5} if name in SETTINGS else {"epoch": 2}
    (project / f"models/{name}/model.json").write_text(
        json.dumps({"input_kind": "features", "class_names": names, **chosen})
    )
    (project / f"models/{name}/model.weights.h5").write_bytes(name.encode())
    if name not in SETTINGS:
        losses, accuracies = [0.7, 0.5, 0.4], [0.5, 0.7, 0.9]
        table(
            project / f"models/{name}/history.csv",
            epoch=[1, 2, 3],
            loss=losses,
            accuracy=accuracies,
            val_loss=losses,
            val_accuracy=accuracies,
        )
    found = project / "data/evaluation" / name
    value = 0.75 if defined else WORDS
    table(
        found / "classes.csv",
        class_name=names,
        precision=value,
        recall=value,
        f1=value,
        support=n // len(names),
    )
    table(
        found / "predictions.csv",
        path=scored["path"],
        actual=actual,
        predicted=predicted,
        probability=0.8,
    )
    points = [0, 0.5, 1] if defined else []
    table(found / "roc.csv", false_positive_rate=points, true_positive_rate=points)
    table(found / "precision_recall.csv", recall=points, precision=points[::-1])
    calibration = ["as trained", "calibrated", "calibrated"] if defined else []
    table(
        found / "reliability.csv",
        calibration=calibration,
        confidence=points,
        accuracy=points,
        n=[5] * len(points),
    )
    mistakes = [i for i in range(n) if actual[i] != predicted[i]][:shown]
    table(
        project / f"data/evaluation/{name}/mistakes.csv",
        file=[f"{i:03}" for i in range(len(mistakes))],
        path=[scored["path"].iloc[i] for i in mistakes],
        actual=[actual[i] for i in mistakes],
        predicted=[predicted[i] for i in mistakes],
        probability=[round(0.99 - 0.003 * i, 6) for i in range(len(mistakes))],
    )
    rng = np.random.default_rng(len(name))
    for i in range(len(mistakes)):
        Image.fromarray(rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(
            project / f"data/evaluation/{name}/mistakes/{i:03}.png"
        )


def write_comparison(
    project: Path, verdicts: Sequence[str], models: Sequence[str] = MODELS
) -> None:
    """The pairs of models with these verdicts."""
    pairs = [(model, against) for against, model in combinations(models, 2)]
    table(
        project / "plots/comparison.csv",
        model=[pair[0] for pair in pairs],
        against=[pair[1] for pair in pairs],
        difference=0.033333,
        difference_low=-0.01,
        difference_high=0.08,
        only_model_right=12,
        only_against_right=6,
        method="exact McNemar",
        p=0.2379,
        p_holm=0.7137,
        verdict=verdicts,
    )


def table(path: Path, /, **columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False, lineterminator="\n")
