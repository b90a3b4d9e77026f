"""Method 2: train a head behind the frozen base on augmented views, epoch e on view e mod V."""

from transfer.compute.device import ComputeParams, configure_backend
from transfer.dataset.examples import load_views, read_examples
from transfer.dataset.manifest import class_names, read_manifest
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import ArrayParams, Shards
from transfer.training.loop import HeadTrainingParams
from transfer.training.train_and_save import train_and_save_head


class TrainAugmentedParams(HeadTrainingParams):
    """The section `train_augmented`."""


def main() -> None:
    """Train a head on the bottleneck features of the augmented views."""
    params = load_params(TrainAugmentedParams, "train_augmented")
    compute = load_params(ComputeParams, "compute")
    configure_backend(compute, params.seed, compute.threads)
    arrays = load_params(ArrayParams, "arrays")
    shards = Shards(load_params(ResourceParams, "resources").shards_url, arrays.window)
    manifest = read_manifest()
    views = load_views(manifest, "features", shards)
    validation = read_examples(manifest, "validation", "features", shards)
    train_and_save_head(
        "train_augmented",
        "augmented",
        class_names(manifest),
        lambda epoch: views.inputs[epoch % len(views.inputs)],
        views,
        validation,
        params,
    )


if __name__ == "__main__":
    run_stage(main)
