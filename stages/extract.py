"""Run every image once through the frozen backbone."""

from transfer.backbones.registry import BackboneParams
from transfer.cluster.choose_engine import load_engine
from transfer.compute.params import ComputeParams
from transfer.dataset.manifest import SPLITS
from transfer.features.extraction import CleanImages, as_sent, cache_frozen_pass
from transfer.features.frozen_network import ExtractParams, FrozenWork, choose_runtime
from transfer.runtime.checkpoints import resumable
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run
from transfer.storage.array_paths import inputs_file
from transfer.storage.arrays import read_array


def main() -> None:
    params, architecture = (
        load_params(ExtractParams, "extract"),
        load_params(BackboneParams, "backbone"),
    )
    compute, resources = (
        load_params(ComputeParams, "compute"),
        load_params(ResourceParams, "resources"),
    )
    work = FrozenWork(architecture, params, compute, as_sent, choose_runtime(architecture, compute))
    with load_engine("extract").start(work) as workers, resumable("extract") as checkpoint:
        for split in SPLITS:
            images = CleanImages(read_array(inputs_file(split, "images"), ndim=4))
            files = inputs_file(split, "features"), inputs_file(split, "cut")
            cache_frozen_pass(
                workers,
                images,
                (len(images),),
                files,
                resources.cache_gigabytes,
                checkpoint.folder,
                lower_with="backbone.image_size",
            )


if __name__ == "__main__":
    run(main)
