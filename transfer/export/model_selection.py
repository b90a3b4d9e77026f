"""Chooses the best of the trained networks by validation loss, never by the test split."""

import pandas as pd

from transfer.classifiers.description import read_description
from transfer.classifiers.names import NETWORKS, history_file, is_skipped


def best_on_validation() -> str:
    """The network whose kept epoch has the lowest validation loss; the earlier one of equals.

    For all networks this is the plain loss (`transfer.training.loop.fit`) on the same images, so it
    can be compared. The test split is only for scoring. The baselines are never the best.

    Raises:
        PipelineError: a model is missing or damaged.
    """
    losses = {name: _validation_loss(name) for name in NETWORKS if not is_skipped(name)}
    print("validation loss:", ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()))
    return min(losses, key=losses.get)


def _validation_loss(name: str) -> float:
    history = pd.read_csv(history_file(name)).set_index("epoch")
    return float(history["val_loss"][read_description(name).epoch])
