"""Compare the models that `evaluate` scored, and put all results on one self-contained HTML page
and into a model card. Neither Keras nor TensorFlow is needed."""

from pathlib import Path

from pydantic import NonNegativeInt

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.names import (
    BASELINES,
    EVALUATION,
    NETWORKS,
    description_file,
    history_file,
    weights_file,
)
from transfer.dataset.manifest import find_manifest, read_manifest, split_rows
from transfer.dataset.scored_split import scored_split, split_field
from transfer.evaluation.comparison import compare
from transfer.report.html_page import fingerprint, write_page
from transfer.report.joined import (
    CURVES,
    accuracy_table,
    copy_sheets,
    joined,
    read_is_right,
    read_scores,
)
from transfer.report.model_card import write_card
from transfer.report.narrative import ReportParams, describe
from transfer.report.results import read_results
from transfer.runtime.files import write_json, write_table
from transfer.runtime.params import Params, load_params, read_params
from transfer.runtime.stage import run_stage

METRICS = Path("metrics")
PLOTS = Path("plots")
PAGE = PLOTS / "report.html"
SHEET = PLOTS / "augmentation.png"
CARD = Path("MODEL_CARD.md")


class CompareParams(Params):
    """seed: of the intervals around differences between models."""

    seed: NonNegativeInt


def main() -> None:
    """Join what `evaluate` wrote for each model, compare the models with each other, and write the
    page and the model card."""
    write_comparison(load_params(CompareParams, "compare").seed)
    params = read_params() | {"backbone": load_params(BackboneParams, "backbone").model_dump()}
    params.pop("resources", None)  # decides no byte
    write_report(load_params(ReportParams, "report"), params)


def write_comparison(seed: int) -> None:
    """Write the models' scores (metrics/*.json), curves and differences (plots/*.csv) and contact
    sheets (plots/mistakes/).

    Raises:
        PipelineError: a file of a model is missing, damaged, or about other images.
    """
    manifest = read_manifest()
    split = scored_split(manifest)
    rows, field = split_rows(manifest, split), split_field(split)
    scores = read_scores()
    accuracies = {name: scores[name]["accuracy"] for name in scores}
    write_json(METRICS / "evaluation.json", scores)
    write_json(METRICS / "accuracy.json", field | accuracies)
    write_table(PLOTS / "accuracy.csv", accuracy_table(scores).assign(**field))
    is_right = {name: read_is_right(name, rows) for name in scores}
    compared = compare(is_right, rows["group"].to_numpy(), seed, BASELINES)
    write_table(PLOTS / "comparison.csv", compared.assign(**field))
    trained = [name for name in scores if name in NETWORKS]
    write_table(PLOTS / "history.csv", joined({name: history_file(name) for name in trained}))
    for curve in CURVES:
        files = {name: EVALUATION / name / f"{curve}.csv" for name in scores}
        write_table(PLOTS / f"{curve}.csv", joined(files))
    copy_sheets(list(scores), PLOTS / "mistakes")


def write_report(told: ReportParams, params: dict[str, dict]) -> None:
    """Write the page and the model card from the results.

    Args:
        params: params.yaml by section, as the page shows it.

    Raises:
        PipelineError: a result or a parameter is missing or damaged.
    """
    results = read_results()
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
