"""Score the three models on the test split; the only stage that opens its labels."""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import PositiveInt

from transfer.arrays import read_array
from transfer.classifier import Classifier, load_classifier, predict_logits, probabilities
from transfer.compute import ComputeParams, set_up
from transfer.door import run
from transfer.errors import PipelineError
from transfer.examples import read_examples
from transfer.files import replacing, write_json
from transfer.manifest import class_names, read_manifest, rows_of
from transfer.mistakes import draw_mistakes
from transfer.params import Params, load_params
from transfer.scores import roc, score

NAMES = ("head", "augmented", "finetuned")
IMAGES = Path("data/images/test.npy")
METRICS = Path("metrics")
PLOTS = Path("plots")


class EvaluateParams(Params):
    mistakes: PositiveInt


def main() -> None:
    params = load_params(EvaluateParams, "evaluate")
    compute = load_params(ComputeParams, "compute")
    set_up(compute, seed=0, threads=compute.threads)
    manifest = read_manifest()
    test = rows_of(manifest, "test")
    labels = test["label"].to_numpy()
    files = [path.rsplit("/", 1)[-1] for path in test["path"]]
    images = read_array(IMAGES, rows=len(test), ndim=4)
    for name in NAMES:
        classifier = load_classifier(name)
        predictions = predict(classifier, manifest)
        write_json(METRICS / f"{name}.json", score(labels, predictions))
        write_table(PLOTS / "roc" / f"{name}.csv", roc(labels, predictions))
        write_table(PLOTS / "predictions" / f"{name}.csv", prediction_table(test, predictions, classifier.class_names))
        sheet = PLOTS / "mistakes" / f"{name}.png"
        draw_mistakes(sheet, name, images, files, labels, predictions, classifier.class_names, params.mistakes)


def predict(classifier: Classifier, manifest: pd.DataFrame) -> np.ndarray:
    """Probabilities (N, C) of the test images.

    Raises:
        PipelineError: the model was trained on other classes than the manifest has.
    """
    if classifier.class_names != class_names(manifest):
        raise PipelineError(f"the model knows {classifier.class_names}, the manifest {class_names(manifest)}; run `dvc repro`")
    return probabilities(predict_logits(classifier.model, read_examples(manifest, "test", classifier.takes).inputs))


def prediction_table(test: pd.DataFrame, predictions: np.ndarray, names: list[str]) -> pd.DataFrame:
    """A row an image, as the confusion plot takes it: path, actual, predicted, probability of the predicted class."""
    predicted = predictions.argmax(axis=1)
    return pd.DataFrame(
        {
            "path": test["path"],
            "actual": test["class_name"],
            "predicted": [names[label] for label in predicted],
            "probability": predictions.max(axis=1).round(6),
        }
    )


def write_table(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


if __name__ == "__main__":
    run(main)
