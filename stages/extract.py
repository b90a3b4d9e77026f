"""Run every image once through the frozen backbone."""

from pathlib import Path

from transfer.arrays import read_array
from transfer.backbone import load_backbone, with_preprocessing
from transfer.backbones import BackboneParams
from transfer.checkpoints import resumable
from transfer.compute import ComputeParams, set_up
from transfer.door import run
from transfer.examples import inputs_file
from transfer.frozen import CleanImages, ExtractParams, cache_frozen_pass
from transfer.manifest import SPLITS
from transfer.params import load_params
from transfer.rows import RowsParams

IMAGES = Path("data/images")


def main() -> None:
    params = load_params(ExtractParams, "extract")
    architecture = load_params(BackboneParams, "backbone")
    rows = load_params(RowsParams, "rows")
    set_up(load_params(ComputeParams, "compute"), seed=0)
    frozen = with_preprocessing(load_backbone(architecture), architecture)
    with resumable("extract") as checkpoint:
        for split in SPLITS:
            images = CleanImages(read_array(IMAGES / f"{split}.npy", ndim=4))
            files = inputs_file(split, "features"), inputs_file(split, "cut")
            cache_frozen_pass(frozen, images, (len(images),), files, params, rows, checkpoint.folder, lower_with="backbone.image_size")


if __name__ == "__main__":
    run(main)
