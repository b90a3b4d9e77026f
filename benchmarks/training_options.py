"""Training options against the defaults: differences of validation and test scores, by seed.

    python -m benchmarks.training_options --set train_head.dropout=0.5
    python -m benchmarks.training_options --set finetune.schedule=cosine finetune.warmup_epochs=1

Each `--set` is a setting of its own, of one or more changes to params.yaml's sections train_head,
train_augmented and finetune; each section that it names is trained once a seed, by the stage
itself, in a temporary folder, from the arrays that `dvc repro augment` left. Fine-tuning starts
from that seed's default augmented model unless the setting names train_augmented too. Split and
views stay, so what the intervals cover is the chance of the trainings: initial weights, order,
dropout, mixup.

Prints one row per setting and model, as Markdown: the mean score and the mean difference from the
defaults with its 95 % interval (paired t test over seeds, SciPy), and p of the difference in
validation loss, corrected for the number of rows (Holm). Choose by the validation columns: whoever
chooses by the test columns has no test any more. `--output` gets each training's scores, and is
written again after each.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml
from sklearn.metrics import log_loss
from statsmodels.stats.multitest import multipletests

from transfer.classifiers.names import MODELS
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.saved import load_classifier, predict_logits
from transfer.commands.sweep.trainings import TRAININGS, paired, prepare, train
from transfer.dataset.examples import read_examples
from transfer.dataset.manifest import read_manifest
from transfer.storage.params import Shards

DEFAULTS = "defaults"
SCORES = ("validation accuracy", "validation loss", "test accuracy")
READ_BY_STAGES = ("data", "dvc.yaml", "stages", "transfer")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        nargs="+",
        required=True,
        metavar="SECTION.KEY=VALUE",
    )
    parser.add_argument("--output", type=Path, default=Path("logs/options.csv"))
    arguments = parser.parse_args()
    if len(set(arguments.seeds)) < 2:
        parser.error("--seeds: an interval needs two different seeds at least")
    settings = {" ".join(changes): parse(changes) for changes in arguments.settings}
    arguments.output.parent.mkdir(exist_ok=True)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            for name, changes in {
                DEFAULTS: {section: {} for section in sections_for(settings)},
                **settings,
            }.items():
                rows += run(Path(folder), name, changes, seed)
                pd.DataFrame(rows).to_csv(arguments.output, index=False)
                print(f"seed {seed}, {name}: {rows[-1]}", flush=True)
    print(as_markdown(compare(pd.DataFrame(rows))))


def parse(changes: list[str]) -> dict[str, dict]:
    """`finetune.ema_momentum=0.99` and the like, by section."""
    parsed: dict[str, dict] = {}
    for change in changes:
        key, _, value = change.partition("=")
        section, _, name = key.partition(".")
        if section not in TRAININGS or not name or not value:
            raise SystemExit(
                f"--set {change}: give SECTION.KEY=VALUE, with SECTION one of "
                f"{', '.join(TRAININGS)}"
            )
        parsed.setdefault(section, {})[name] = yaml.safe_load(value)
    return parsed


def sections_for(settings: dict[str, dict]) -> list[str]:
    """The trainings that these settings are compared with, or start from,
    in the order of the pipeline."""
    named = {section for changes in settings.values() for section in changes}
    return [
        section
        for section in TRAININGS
        if section in named or (section == "train_augmented" and "finetune" in named)
    ]


def run(root: Path, name: str, changes: dict[str, dict], seed: int) -> list[dict]:
    """Train what a setting names, in a folder of its own; one row per model with its scores."""
    folder = root / f"{name.replace('/', '_')} {seed}"[-200:]
    prepare(
        folder,
        READ_BY_STAGES,
        {section: {"seed": seed} | changes.get(section, {}) for section in TRAININGS},
    )
    if "train_augmented" not in changes:
        (folder / MODELS / "augmented").symlink_to(
            root / f"{DEFAULTS} {seed}" / MODELS / "augmented"
        )
    rows = []
    with contextlib.chdir(folder):
        for section in (section for section in TRAININGS if section in changes):
            train(section)
            model = TRAININGS[section].model
            rows.append({"setting": name, "model": model, "seed": seed, **scores(model)})
    return rows


def scores(model: str, splits: Iterable[str] = ("validation", "test")) -> dict[str, float]:
    """Accuracy and loss of the model in the working directory on these splits, those of SCORES."""
    classifier, manifest = load_classifier(model), read_manifest()
    found = {}
    for split in splits:
        examples = read_examples(manifest, split, classifier.input_kind, Shards())
        predicted = probabilities(predict_logits(classifier.model, examples.inputs))
        found[f"{split} accuracy"] = float((predicted.argmax(axis=1) == examples.labels).mean())
        found[f"{split} loss"] = float(
            log_loss(examples.labels, predicted, labels=range(predicted.shape[1]))
        )
    return {name: found[name] for name in SCORES if name in found}


def compare(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per model's defaults, one per setting and model: mean scores, and the differences
    with their intervals and p."""
    table = []
    for (setting, model), group in rows.groupby(["setting", "model"], sort=False):
        row = {
            "model": model,
            "setting": setting,
            **{score: group[score].mean() for score in SCORES},
        }
        if setting != DEFAULTS:
            defaults = rows[(rows["setting"] == DEFAULTS) & (rows["model"] == model)]
            for score in SCORES:
                mean, low, high, p = paired(
                    group.set_index("seed")[score], defaults.set_index("seed")[score]
                )
                row |= {f"{score} difference": mean, f"{score} low": low, f"{score} high": high}
                row |= {"p": p} if score == "validation loss" else {}
        table.append(row)
    compared = pd.DataFrame(table)
    tested = compared["p"].notna()
    compared.loc[tested, "p_holm"] = multipletests(compared.loc[tested, "p"], method="holm")[1]
    order = {training.model: place for place, training in enumerate(TRAININGS.values())}
    return compared.sort_values(
        "model", key=lambda column: column.map(order), kind="stable", ignore_index=True
    )


def as_markdown(compared: pd.DataFrame) -> str:
    lines = [["model", "setting", *SCORES, "p (loss, Holm)"], ["---"] * (len(SCORES) + 3)]
    for row in compared.to_dict("records"):
        told = row["setting"] != DEFAULTS
        cells = [_cell(row, score) if told else f"{row[score]:.3f}" for score in SCORES]
        lines.append(
            [
                row["model"],
                f"`{row['setting']}`" if told else DEFAULTS,
                *cells,
                f"{row['p_holm']:.2g}" if told else "",
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(row: dict, score: str) -> str:
    return (
        f"{row[score]:.3f}: {row[f'{score} difference']:+.3f} ({row[f'{score} low']:+.3f} to "
        f"{row[f'{score} high']:+.3f})"
    )


if __name__ == "__main__":
    main()
