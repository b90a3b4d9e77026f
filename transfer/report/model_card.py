"""The model card, in the form that model hubs read: YAML front matter, then Markdown."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from markupsafe import Markup

from transfer.dataset.scored_split import title_note
from transfer.report.formatting import is_number, visible
from transfer.report.html_page import File, templates
from transfer.report.narrative import Prose, value
from transfer.report.results import ModelResults, Results
from transfer.report.tables import (
    class_counts,
    comparison_table,
    metric_table,
    model_table,
    parameter,
)
from transfer.runtime.files import atomic_write

CARD = "MODEL_CARD.md.j2"
PROCEDURE = (
    "backbone",
    "augment",
    "train_scratch",
    "train_head",
    "train_augmented",
    "finetune",
    "train_neighbours",
    "train_probe",
)
HUB_NAMES = {  # the hub's names of scores, and what they are called
    "accuracy": ("accuracy", "Accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "roc_auc": ("roc_auc", "Area under the ROC curve"),
    "log_loss_calibrated": ("log_loss", "Log loss, calibrated"),
    "ece_calibrated": ("expected_calibration_error", "Calibration error, calibrated"),
}


def write_card(
    path: Path,
    results: Results,
    prose: Prose,
    params: dict[str, dict],
    license_id: str | None,
    files: Sequence[File],
) -> None:
    """Write the card; every text that the template inserts is escaped as Markdown. `params`:
    params.yaml by section."""
    models = results.models
    content = {
        "prose": prose,
        "front_matter": Markup(front_matter(prose, license_id, models)),  # noqa: S704, YAML and no HTML
        "class_count": len(models[0].class_names),
        "image_size": value(params, "backbone.image_size"),
        "class_counts": class_counts(results.manifest),
        "procedure": {name: params[name] for name in PROCEDURE if name in params},
        "parameter": parameter,
        "model_table": model_table(results),
        "metric_table": metric_table(models),
        "comparison_table": comparison_table(results.comparison),
        "note": title_note(results.split),
        "files": files,
    }
    text = templates(escaped).get_template(CARD).render(**content) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def front_matter(prose: Prose, license_id: str | None, models: Sequence[ModelResults]) -> str:
    """What a hub reads, as YAML, without metrics that are text:
    https://huggingface.co/docs/hub/model-cards."""
    found = {model.name: _hub_metrics(model) for model in models}
    content = {
        "license": license_id or "unknown",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", "keras", "dvc"],
        "metrics": sorted({metric["type"] for metrics in found.values() for metric in metrics}),
    }
    task = {"type": "image-classification", "name": "Image Classification"}
    dataset = {"type": "imagefolder", "name": visible(prose.source), "split": models[0].split}
    index = [
        {
            "name": f"{visible(prose.title)}, {name}",
            "results": [{"task": task, "dataset": dataset, "metrics": metrics}],
        }
        for name, metrics in found.items()
        if metrics
    ]
    return yaml.dump(
        content | ({"model-index": index} if index else {}),
        Dumper=_Plain,
        allow_unicode=True,
        sort_keys=False,
        width=140,
    )


def _hub_metrics(model: ModelResults) -> list[dict]:
    return [
        {"type": kind, "value": model.metrics[key], "name": f"{name} on the {model.split} split"}
        for key, (kind, name) in HUB_NAMES.items()
        if is_number(model.metrics.get(key))
    ]


class _Plain(yaml.SafeDumper):
    """Writes repeated content twice, because the YAML readers of hubs do not support anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def escaped(value: object) -> object:
    """Text that Markdown shows as it is: no markup, no HTML, no new row of a table."""
    if type(value) is not str:
        return value
    text = visible(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", text))  # noqa: S704, escaped here, as Markdown
