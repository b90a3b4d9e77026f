"""Run every image once through the frozen backbone."""

from transfer.backbones.registry import BackboneParams
from transfer.cluster.choose_engine import load_engine
from transfer.compute.params import ComputeParams
from transfer.dataset.manifest import SPLITS
from transfer.features.extraction import CleanImages, extract_features, unchanged
from transfer.features.frozen_network import ExtractParams, FrozenTask, choose_runtime
from transfer.features.shard_pass import task_for
from transfer.runtime.checkpoints import resumable
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import read_array
from transfer.storage.params import ArrayFormat, ArrayParams, Shards


def main() -> None:
    """Write the activations of every image at the cut and its bottleneck features."""
    params = load_params(ExtractParams, "extract")
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    resources = load_params(ResourceParams, "resources")
    arrays, shards = load_params(ArrayParams, "arrays"), Shards(resources.shards_url)
    kept = ArrayFormat(arrays.format, arrays.shard_rows, shards)
    engine = load_engine(resources, "extract")
    frozen = FrozenTask(
        architecture, params, compute, unchanged, choose_runtime(architecture, compute)
    )
    with (
        engine.start(task_for(kept, frozen, engine)) as workers,
        resumable("extract") as checkpoint,
    ):
        for split in SPLITS:
            images = CleanImages(read_array(inputs_path(split, "images"), shards, ndim=4))
            files = inputs_path(split, "features"), inputs_path(split, "cut")
            extract_features(
                workers,
                images,
                (len(images),),
                files,
                resources.cache_gigabytes,
                checkpoint.folder,
                size_parameter="backbone.image_size",
                kept=kept,
            )


if __name__ == "__main__":
    run_stage(main)
