"""Write all results to one self-contained HTML page and to a model card."""

from pathlib import Path

from transfer.augmentation.warp import AugmentParams
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.names import description_file, weights_file
from transfer.dataset.manifest import find_manifest, split_rows
from transfer.report.contact_sheet import draw_sheet
from transfer.report.html_page import fingerprint, write_page
from transfer.report.model_card import write_card
from transfer.report.narrative import ReportParams, describe
from transfer.report.results import read_results
from transfer.runtime.params import load_params, read_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import read_array
from transfer.storage.params import Shards

PAGE = Path("plots/report.html")
SHEET = Path("plots/augmentation.png")
CARD = Path("MODEL_CARD.md")


def main() -> None:
    """Write the page, the model card and the sheet of augmented views."""
    told, augment = load_params(ReportParams, "report"), load_params(AugmentParams, "augment")
    params = read_params() | {"backbone": load_params(BackboneParams, "backbone").model_dump()}
    params.pop("resources", None)  # decides no byte
    results = read_results()
    train = split_rows(results.manifest, "train")
    shards = Shards(load_params(ResourceParams, "resources").shards_url)
    images = read_array(inputs_path("train", "images"), shards, rows=len(train), ndim=4)
    draw_sheet(SHEET, images, augment)
    prose = describe(results, told, params)
    files = [
        fingerprint(Path(name), what)
        for name, what in files_behind([model.name for model in results.models]).items()
    ]
    write_page(PAGE, results, prose, params, SHEET, files)
    write_card(CARD, results, prose, params, told.license, files)


def files_behind(models: list[str]) -> dict[str, str]:
    """The files that the results depend on: path -> what the file is."""
    return {
        find_manifest().as_posix(): "which image is where",
        "data/weights/backbone.weights.h5": "the pretrained backbone",
        **{description_file(name).as_posix(): f"the layers of {name}" for name in models},
        **{weights_file(name).as_posix(): f"the weights of {name}" for name in models},
    }


if __name__ == "__main__":
    run_stage(main)
