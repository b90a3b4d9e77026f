"""The baseline for transfer learning: train a small network from scratch on the same augmented
images, epoch e on view e mod V."""

from pydantic import Field, PositiveInt

from transfer.augmentation.views import AugmentedViews
from transfer.augmentation.warp import AugmentParams
from transfer.classifiers.description import save_skipped
from transfer.classifiers.scratch import build_small_network
from transfer.compute.device import ComputeParams, configure_backend
from transfer.dataset.examples import read_examples
from transfer.dataset.manifest import class_names, read_manifest
from transfer.runtime.instructions import allow_all_instructions
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import ArrayParams, Shards
from transfer.training.loop import ConvolutionTrainingParams, compile_classifier
from transfer.training.train_and_save import train_and_save


class TrainScratchParams(ConvolutionTrainingParams):
    """skip: do not train the baseline."""

    skip: bool
    units: PositiveInt
    dropout: float = Field(ge=0, lt=1)


def main() -> None:
    """Train a small network on the augmented images from random weights."""
    params = load_params(TrainScratchParams, "train_scratch")
    if params.skip:
        save_skipped("scratch", "train_scratch.skip is true")
        return
    augment, compute = load_params(AugmentParams, "augment"), load_params(ComputeParams, "compute")
    if params.instructions == "all":
        allow_all_instructions()
    configure_backend(compute, params.seed, compute.threads)
    arrays = load_params(ArrayParams, "arrays")
    shards = Shards(load_params(ResourceParams, "resources").shards_url, arrays.window)
    manifest = read_manifest()
    train, validation = (
        read_examples(manifest, split, "images", shards) for split in ("train", "validation")
    )
    views = AugmentedViews(train.inputs, augment, keep=params.epochs > augment.views)
    network = build_small_network(
        train.inputs.shape[1], params.units, params.dropout, len(class_names(manifest))
    )
    network.summary()
    compile_classifier(network, params)
    train_and_save(
        "train_scratch",
        "scratch",
        network,
        "images",
        class_names(manifest),
        lambda epoch: views[epoch % augment.views],
        train.labels,
        validation,
        params,
        own_weights=train.weights,
    )


if __name__ == "__main__":
    run_stage(main)
