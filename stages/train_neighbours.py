"""A baseline without training: the nearest training images vote, by the cosine of their frozen
features."""

from dataclasses import replace

import numpy as np
from pydantic import PositiveInt

from transfer.classifiers.baselines import score_settings
from transfer.classifiers.description import save_skipped
from transfer.classifiers.names import NEIGHBOURS
from transfer.classifiers.neighbours import Neighbours, save_neighbours, unit_length
from transfer.dataset.examples import read_examples
from transfer.dataset.manifest import class_names, read_manifest
from transfer.features.pooling import read_means
from transfer.runtime.params import Params, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import Shards


class TrainNeighboursParams(Params):
    """neighbours: how many vote; the number with the lowest validation loss is kept."""

    neighbours: list[PositiveInt]


def main() -> None:
    """Choose how many of the nearest training images vote, and save that classifier."""
    params = load_params(TrainNeighboursParams, "train_neighbours")
    if not params.neighbours:
        save_skipped(NEIGHBOURS, "train_neighbours.neighbours is empty")
        return
    shards = Shards(load_params(ResourceParams, "resources").shards_url)
    manifest = read_manifest()
    train, validation = (
        read_examples(manifest, split, "features", shards) for split in ("train", "validation")
    )
    weights = np.ones(len(train.labels), np.float32) if train.weights is None else train.weights
    neighbours = Neighbours(
        unit_length(read_means(manifest, "train", "features", shards)),
        train.labels,
        weights,
        max(params.neighbours),
        train.inputs.shape[1:],
        class_names(manifest),
    )
    logits = neighbours.logits_by_count(validation.inputs, params.neighbours)
    choices = score_settings("neighbours", params.neighbours, logits, validation.labels)
    best = params.neighbours[int(choices["val_loss"].argmin())]
    save_neighbours(replace(neighbours, count=best), choices)
    print(choices.round(4).to_string(index=False))


if __name__ == "__main__":
    run_stage(main)
