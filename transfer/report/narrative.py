"""What the report and the model card say in sentences about the data, the models and their rights;
nothing is made up.

What no stage can know (who made the images, what the models are for, under which licence) a person
states in params.yaml; otherwise the text says that nobody has.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from transfer.augmentation.sheet import VIEWS
from transfer.backbones.registry import describe_weights_license
from transfer.classifiers.names import NEIGHBOURS, PROBE
from transfer.report.claims import claims
from transfer.report.formatting import count, listed, plural, shorten
from transfer.report.results import ModelResults, Results
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params

MOST_NAMES = 20


class ReportParams(Params):
    """What a person states for the report; null if nobody has. data_origin_of: the only
    `split.source` for which data_origin is true."""

    title: str | None
    data_origin: str | None
    data_origin_of: str | None
    intended_use: str | None
    license: str | None


@dataclass(frozen=True)
class Prose:
    """Sentences. descriptions: (name, what it is) of each model."""

    title: str
    facts: str
    claims: list[str]
    descriptions: list[tuple[str, str]]
    source: str
    origin: str
    copies: str
    unusable: str
    preparation: str
    audit: str
    classes: str
    intended_use: str
    license: str
    weights_license: str


def describe(results: Results, told: ReportParams, params: dict[str, dict]) -> Prose:
    """Describe the results, the person's statements and params.yaml (sections) in sentences.

    Raises:
        PipelineError: a parameter is missing.
    """
    names, source = results.models[0].class_names, str(value(params, "split.source"))
    return Prose(
        title=told.title or f"Image classifier: {_classes(names, 4)}",
        facts=_facts(results, params),
        claims=claims(results),
        descriptions=_descriptions(results.models, params),
        source=source,
        origin=_origin(told, source),
        copies=_copies(results),
        unusable=_unusable(results),
        preparation=_preparation(results),
        audit=_audit(results),
        classes=_classes(names, MOST_NAMES),
        intended_use=told.intended_use
        or "Nobody has said what these models are meant for (report.intended_use in params.yaml).",
        license=f"The models: {told.license}."
        if told.license
        else "No licence was chosen for the models (report.license in params.yaml).",
        weights_license=describe_weights_license(
            value(params, "backbone.name"),
            value(params, "weights.source"),
            value(params, "weights.path"),
        ),
    )


def value(params: dict[str, dict], key: str) -> object:
    """The parameter `section.name`; raises PipelineError if it is missing."""
    section, name = key.split(".")
    if name not in params.get(section, {}):
        raise PipelineError(f"params.yaml: {key} is missing; restore it from params.yaml in git")
    return params[section][name]


def wrong(model: ModelResults) -> int:
    return int((model.predictions["actual"] != model.predictions["predicted"]).sum())


def mistakes_summary(models: Sequence[ModelResults], shown: int) -> str:
    """How many mistakes there are, and how many of them are shown."""
    total, noun = sum(map(wrong, models)), f"{models[0].split} image"
    if total == 0:
        return (
            f"No model got a {noun} wrong."
            if len(models[0].predictions)
            else f"There was no {noun} to get wrong."
        )
    each = listed([f"{model.name} {count(wrong(model))}" for model in models])
    text = f"Of {plural(len(models[0].predictions), noun)} these were wrong: {each}."
    if shown < total:
        text += (
            f" {shown:,} of the {plural(total, 'mistake')} are shown, the surest of every model;"
        )
        text += (
            " data/evaluation/ has the pictures that evaluate made, plots/predictions.csv every "
            "image."
        )
    return text


def sheet_says(files: Sequence[str], params: dict[str, dict]) -> str:
    """The text alternative of the sheet of augmented views."""
    views, rotation, width, height, shear, zoom = (
        value(params, f"augment.{name}")
        for name in ("views", "rotation", "width_shift", "height_shift", "shear", "zoom")
    )
    flip = ", mirrored or not" if value(params, "augment.horizontal_flip") else ""
    return (
        f"{plural(len(files), 'training image')}, a row each: as decoded at the left, then "
        f"{min(VIEWS, views)} of the {views} views that all networks but head trained on. Each is "
        f"turned by up to {rotation}°, shifted by up to {width} of the width and {height} of the "
        f"height, sheared by up to {shear}°, zoomed by up to {zoom}{flip}. They are "
        f"{', '.join(shorten(file, 60) for file in files)}."
    )


def _classes(names: list[str], most: int) -> str:
    shown = [shorten(name, 40) for name in names[:most]]
    return listed(
        shown if len(names) <= most else [*shown, f"{plural(len(names) - most, 'other class')}"]
    )


def _facts(results: Results, params: dict[str, dict]) -> str:
    size = value(params, "backbone.image_size")
    used = (results.manifest["split"] != "unused").sum()
    parts = [plural(int(used), "image"), plural(results.manifest["class_name"].nunique(), "class")]
    return ", ".join(
        [
            *parts,
            f"{value(params, 'backbone.name')} at {size} × {size} pixels, {_ways(results.models)}",
        ]
    )


def _ways(models: Sequence[ModelResults]) -> str:
    behind, names = "three ways to train on top of it", {model.name for model in models}
    beside = {
        "scratch": "a small network from scratch",
        NEIGHBOURS: "nearest neighbours",
        PROBE: "a linear probe",
    }
    others = [what for name, what in beside.items() if name in names]
    return f"{behind}, compared with {listed(others)}" if others else behind


def _descriptions(models: Sequence[ModelResults], params: dict[str, dict]) -> list[tuple[str, str]]:
    name, unfrozen, views = (
        value(params, key) for key in ("backbone.name", "backbone.unfreeze_from", "augment.views")
    )
    units, augmented_units = (
        value(params, "train_head.units"),
        value(params, "train_augmented.units"),
    )
    what = {
        "scratch": (
            f"A small network trained from scratch, {value(params, 'train_scratch.units')} units "
            f"behind three convolutions, on the same {views} augmented views of each image and "
            f"without {name}: what transfer is compared with."
        ),
        "head": (
            f"A dense head of {units} units on the features that the frozen {name} gives of each "
            "training image."
        ),
        "augmented": (
            f"A dense head of {augmented_units} units behind the frozen {name}, on {views} "
            "augmented views of each image."
        ),
        "finetuned": (
            f"The head of augmented and the layers of {name} from {unfrozen} on, trained together "
            "on the same views."
        ),
        NEIGHBOURS: (
            f"A baseline without training: the training images whose features of the frozen {name} "
            "are nearest vote, the nearer the more."
        ),
        PROBE: (
            f"A baseline in seconds: a logistic regression on the features of the frozen {name}, "
            "averaged over the picture."
        ),
    }
    return [(model.name, f"{what[model.name]} {_choice(model, params)}") for model in models]


def _choice(model: ModelResults, params: dict[str, dict]) -> str:
    """Which of its epochs a network is of, or which setting of a baseline was taken."""
    if model.name == NEIGHBOURS:
        tried = value(params, "train_neighbours.neighbours")
        return (
            f"{plural(int(model.setting), 'image')} {'votes' if model.setting == 1 else 'vote'}, "
            f"the best by validation loss of {listed([str(each) for each in tried])}."
        )
    if model.name == PROBE:
        tried = value(params, "train_probe.strengths")
        return (
            f"Its penalty is the best by validation loss of {len(tried)}, C = "
            f"{model.setting:g} (scikit-learn)."
        )
    return f"Epoch {model.epoch} of {len(model.history)}, the {_kept(model, params)}, was kept."


def _kept(model: ModelResults, params: dict[str, dict]) -> str:
    stage = {
        "scratch": "train_scratch",
        "head": "train_head",
        "augmented": "train_augmented",
        "finetuned": "finetune",
    }[model.name]
    return "best by validation loss" if value(params, f"{stage}.checkpoint") == "best" else "last"


def _origin(told: ReportParams, source: str) -> str:
    if told.data_origin and told.data_origin_of == source:
        return told.data_origin
    return (
        "Nobody has told the pipeline who made these images and under which rights "
        "(report.data_origin in params.yaml, with report.data_origin_of naming split.source)."
    )


def _copies(results: Results) -> str:
    table = results.duplicates
    if table.empty:
        return "No image is a copy or a near-copy of another."
    groups = table.groupby("group")["split"].nunique()
    text = (
        f"{plural(len(table), 'image')} in {plural(len(groups), 'group')} of copies and "
        "near-copies; "
    )
    apart = int((groups > 1).sum())
    on = (
        f"{plural(apart, 'group')} {'lies' if apart == 1 else 'lie'} on more than one side"
        if apart
        else "each group is on one side"
    )
    text += f"{on} of the split."
    if both := int((table["same_file_in_two_classes"] == "True").sum()):
        text += (
            f" {both:,} of these images are the same file in two classes, so that some of those "
            "labels must be wrong."
        )
    return text


def _unusable(results: Results) -> str:
    return (
        "All files could be used."
        if results.rejected.empty
        else f"{plural(len(results.rejected), 'file')} could not be used."
    )


def _preparation(results: Results) -> str:
    """What `split` did to the data, in one paragraph."""
    sentences = [f"{note[0].upper()}{note[1:]}." for note in results.notes]
    return " ".join(sentences) or "Nothing was left out, scaled, laid over a background or tied."


def _audit(results: Results) -> str:
    if results.issues.empty:
        return "The audit found nothing to look at."
    kinds = Counter(results.issues["issue"])
    each = [
        f"{name.replace('_', ' ')} {n:,}"
        for name, n in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    ]
    found = (
        f"{plural(len(results.issues), 'finding')} on "
        f"{plural(results.issues['path'].nunique(), 'image')}"
    )
    return (
        f"The audit has {found}: {', '.join(each)}. They are hints for a person to look at, not "
        "proofs."
    )
