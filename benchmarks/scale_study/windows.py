"""What training from shards costs in accuracy: heads trained on the reproduced sample with windows
of fewer shards than there are.

`python -m benchmarks.scale_study.windows --seeds 0 1 2 3 4`, after a run. The views are cut into
shards as `arrays.format: shards` would, once in the order of paths (class by class) and once in
that of checksums; a table says the validation loss and accuracy of each window.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.train_augmented import TrainAugmentedParams
from transfer.classifiers.head import build_head
from transfer.compute.device import configure_backend
from transfer.compute.params import ComputeParams
from transfer.dataset.examples import Examples, load_views, read_examples
from transfer.dataset.manifest import class_names, read_manifest, split_rows
from transfer.runtime.params import load_params
from transfer.storage.params import Shards
from transfer.storage.shard_cache import Layout
from transfer.training.loop import compile_classifier, fit

ROWS = 16  # of a shard: 34 of them, as 35,000 images would give of 1024 rows


@dataclass(frozen=True)
class Cut:
    """Rows in memory that claim to lie in shards."""

    rows: np.ndarray
    layout: Layout

    def read_in(self, windows: list[list[int]]) -> None:
        """Nothing is to be fetched."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.rows[rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.windows",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    params, compute = (
        load_params(TrainAugmentedParams, "train_augmented"),
        load_params(ComputeParams, "compute"),
    )
    manifest = read_manifest()
    views, validation = (
        load_views(manifest, "features", Shards()),
        read_examples(manifest, "validation", "features", Shards()),
    )
    by_checksum = np.argsort(split_rows(manifest, "train")["sha256"].to_numpy())
    orders = {"path": np.arange(len(views.labels)), "checksum": by_checksum}
    count = -(-len(views.labels) // ROWS)
    rows = []
    for window in (count, 16, 8, 4, 2, 1):
        for name, order in orders.items():
            for seed in asked.seeds:
                configure_backend(compute, seed, compute.threads)
                again = params.model_copy(update={"seed": seed})
                best = train(views, validation, order, window, again, len(class_names(manifest)))
                rows.append({"shards a window": f"{window} of {count}", "order": name, **best})
    table = (
        pd.DataFrame(rows).groupby(["shards a window", "order"], sort=False).agg(["mean", "std"])
    )
    print(table.round(4).to_string())


def train(
    views: Examples,
    validation: Examples,
    order: np.ndarray,
    window: int,
    params: TrainAugmentedParams,
    n_classes: int,
) -> dict:
    """Validation loss and accuracy of the best epoch."""
    head = build_head(
        views.inputs.shape[2:], params.units, params.dropout, params.normalize, n_classes
    )
    compile_classifier(head, params)
    in_memory = np.array(views.inputs)[:, order]
    layout = Layout(ROWS, window)
    fitted = fit(
        head,
        lambda epoch: Cut(in_memory[epoch % len(in_memory)], layout),
        views.labels[order],
        validation,
        params,
    )
    best = fitted.history.iloc[fitted.epoch - 1]
    return {"loss": best["val_loss"], "accuracy": best["val_accuracy"]}


if __name__ == "__main__":
    main()
