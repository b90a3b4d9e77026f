"""Which of the trained models is the best, by what may be looked at to choose."""

import pandas as pd

from transfer.classifiers.names import MODEL_NAMES, history_file, is_skipped
from transfer.classifiers.saved import load_classifier


def best_on_validation() -> str:
    """The model whose kept epoch has the lowest validation loss; the earlier one of equals.

    That loss is the plain one of all of them (`transfer.training.loop.fit`), on the same images, so
    it compares; the test split is for judging.

    Raises:
        PipelineError: a model is missing or damaged.
    """
    losses = {name: _validation_loss(name) for name in MODEL_NAMES if not is_skipped(name)}
    print("validation loss:", ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()))
    return min(losses, key=losses.get)


def _validation_loss(name: str) -> float:
    epoch, history = load_classifier(name).epoch, pd.read_csv(history_file(name))
    return float(history.set_index("epoch")["val_loss"][epoch])
