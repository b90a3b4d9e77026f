"""Draw augmented views of every training image and run each once through the frozen backbone."""

from transfer.augmentation.views import DrawView, Views
from transfer.augmentation.warp import AugmentParams
from transfer.backbones.registry import BackboneParams
from transfer.cluster.choose_engine import load_engine
from transfer.compute.params import ComputeParams
from transfer.features.extraction import cache_frozen_pass
from transfer.features.frozen_network import ExtractParams, FrozenWork, choose_runtime
from transfer.runtime.checkpoints import resumable
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run
from transfer.storage.array_paths import inputs_file, views_file
from transfer.storage.arrays import read_array


def main() -> None:
    params = load_params(AugmentParams, "augment")
    architecture, extract = (
        load_params(BackboneParams, "backbone"),
        load_params(ExtractParams, "extract"),
    )
    compute, resources = (
        load_params(ComputeParams, "compute"),
        load_params(ResourceParams, "resources"),
    )
    images = read_array(inputs_file("train", "images"), ndim=4)
    files = views_file("features"), views_file("cut")
    views, leading = Views(images, params), (params.views, len(images))
    work = FrozenWork(
        architecture, extract, compute, DrawView(params), choose_runtime(architecture, compute)
    )
    with load_engine("augment").start(work) as workers, resumable("augment") as checkpoint:
        cache_frozen_pass(
            workers,
            views,
            leading,
            files,
            resources.cache_gigabytes,
            checkpoint.folder,
            lower_with="augment.views",
        )


if __name__ == "__main__":
    run(main)
