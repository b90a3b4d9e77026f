"""Draw augmented views of every training image and run each once through the frozen backbone."""

from transfer.array_files import inputs_file, views_file
from transfer.arrays import read_array
from transfer.augmentation import AugmentParams
from transfer.backbones import BackboneParams
from transfer.checkpoints import resumable
from transfer.compute_params import ComputeParams
from transfer.door import run
from transfer.engines.choose import load_engine
from transfer.frozen import cache_frozen_pass
from transfer.frozen_pass import ExtractParams, FrozenWork, choose_runtime
from transfer.params import load_params
from transfer.resource_params import ResourceParams
from transfer.views import DrawView, Views


def main() -> None:
    params = load_params(AugmentParams, "augment")
    architecture, extract = load_params(BackboneParams, "backbone"), load_params(ExtractParams, "extract")
    compute, resources = load_params(ComputeParams, "compute"), load_params(ResourceParams, "resources")
    images = read_array(inputs_file("train", "images"), ndim=4)
    files = views_file("features"), views_file("cut")
    views, leading = Views(images, params), (params.views, len(images))
    work = FrozenWork(architecture, extract, compute, DrawView(params), choose_runtime(architecture, compute))
    with load_engine("augment").start(work) as workers, resumable("augment") as checkpoint:
        cache_frozen_pass(workers, views, leading, files, resources.cache_gigabytes, checkpoint.folder, lower_with="augment.views")


if __name__ == "__main__":
    run(main)
