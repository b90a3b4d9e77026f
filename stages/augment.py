"""Draw augmented views of every training image and run each once through the frozen backbone."""

from pathlib import Path

from transfer.augmentation.sheet import draw_sheet, shown_rows
from transfer.augmentation.views import AugmentationJobs, ViewRenderer
from transfer.augmentation.warp import AugmentParams
from transfer.backbones.registry import BackboneParams
from transfer.cluster.choose_engine import load_engine
from transfer.compute.params import ComputeParams
from transfer.features.extraction import extract_features
from transfer.features.frozen_network import ExtractParams, FrozenTask, choose_runtime
from transfer.features.shard_pass import task_for
from transfer.runtime.checkpoints import resumable
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.array_paths import inputs_path, views_path
from transfer.storage.arrays import read_array, take
from transfer.storage.params import ArrayFormat, ArrayParams, Shards

SHEET = Path("plots/augmentation.png")


def main() -> None:
    """Draw augmented views of each training image, show some, and write the activations of all."""
    params = load_params(AugmentParams, "augment")
    architecture, extract = (
        load_params(BackboneParams, "backbone"),
        load_params(ExtractParams, "extract"),
    )
    compute, resources = (
        load_params(ComputeParams, "compute"),
        load_params(ResourceParams, "resources"),
    )
    arrays, shards = load_params(ArrayParams, "arrays"), Shards(resources.shards_url)
    kept = ArrayFormat(arrays.format, arrays.shard_rows, shards)
    engine = load_engine(resources, "augment")
    images = read_array(inputs_path("train", "images"), shards, ndim=4)
    files = views_path("features"), views_path("cut")
    render = ViewRenderer(params)
    shown = [take(images, row) for row in shown_rows(len(images))]
    draw_sheet(SHEET, shown, params.views, render)
    views, leading = AugmentationJobs(images, params), (params.views, len(images))
    frozen = FrozenTask(
        architecture, extract, compute, render, choose_runtime(architecture, compute)
    )
    with (
        engine.start(task_for(kept, frozen, engine)) as workers,
        resumable("augment") as checkpoint,
    ):
        extract_features(
            workers,
            views,
            leading,
            files,
            resources.cache_gigabytes,
            checkpoint.folder,
            size_parameter="augment.views",
            kept=kept,
        )


if __name__ == "__main__":
    run_stage(main)
