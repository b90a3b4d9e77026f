"""Run every image once through the frozen backbone."""

from pathlib import Path

from pydantic import PositiveInt

from transfer.arrays import read_array
from transfer.backbone import BackboneParams, load_backbone, with_preprocessing
from transfer.compute import set_up
from transfer.door import run
from transfer.examples import features_file
from transfer.frozen import cache_frozen_pass
from transfer.manifest import SPLITS
from transfer.params import Params, load_params

IMAGES = Path("data/images")


class ExtractParams(Params):
    batch_size: PositiveInt


def main() -> None:
    params = load_params(ExtractParams, "extract")
    architecture = load_params(BackboneParams, "backbone")
    set_up(seed=0)
    frozen = with_preprocessing(load_backbone(architecture), architecture)
    for split in SPLITS:
        images = read_array(IMAGES / f"{split}.npy", ndim=4)
        files = features_file(split, "features"), features_file(split, "cut")
        cache_frozen_pass(frozen, images, (len(images),), *files, params.batch_size, lower_with="backbone.image_size")


if __name__ == "__main__":
    run(main)
