"""Method 1: train a dense head on clean bottleneck features."""

from transfer.compute.device import ComputeParams, configure_backend
from transfer.dataset.examples import read_examples
from transfer.dataset.manifest import class_names, read_manifest
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import ArrayParams, Shards
from transfer.training.loop import HeadTrainingParams
from transfer.training.train_and_save import train_and_save_head


class TrainHeadParams(HeadTrainingParams):
    """The section `train_head`."""


def main() -> None:
    """Train a head on the bottleneck features of the images as they are."""
    params = load_params(TrainHeadParams, "train_head")
    compute = load_params(ComputeParams, "compute")
    configure_backend(compute, params.seed, compute.threads)
    arrays = load_params(ArrayParams, "arrays")
    shards = Shards(load_params(ResourceParams, "resources").shards_url, arrays.window)
    manifest = read_manifest()
    train, validation = (
        read_examples(manifest, split, "features", shards) for split in ("train", "validation")
    )
    train_and_save_head(
        "train_head",
        "head",
        class_names(manifest),
        lambda epoch: train.inputs,
        train,
        validation,
        params,
    )


if __name__ == "__main__":
    run_stage(main)
