"""Run every image once through the frozen backbone."""

from transfer.array_files import inputs_file
from transfer.arrays import read_array
from transfer.backbones import BackboneParams
from transfer.checkpoints import resumable
from transfer.compute_params import ComputeParams
from transfer.door import run
from transfer.engines.choose import load_engine
from transfer.frozen import CleanImages, as_sent, cache_frozen_pass
from transfer.frozen_pass import ExtractParams, FrozenWork, choose_runtime
from transfer.manifest import SPLITS
from transfer.params import load_params
from transfer.resource_params import ResourceParams


def main() -> None:
    params, architecture = load_params(ExtractParams, "extract"), load_params(BackboneParams, "backbone")
    compute, resources = load_params(ComputeParams, "compute"), load_params(ResourceParams, "resources")
    work = FrozenWork(architecture, params, compute, as_sent, choose_runtime(architecture, compute))
    with load_engine("extract").start(work) as workers, resumable("extract") as checkpoint:
        for split in SPLITS:
            images = CleanImages(read_array(inputs_file(split, "images"), ndim=4))
            files = inputs_file(split, "features"), inputs_file(split, "cut")
            cache_frozen_pass(
                workers, images, (len(images),), files, resources.cache_gigabytes, checkpoint.folder, lower_with="backbone.image_size"
            )


if __name__ == "__main__":
    run(main)
