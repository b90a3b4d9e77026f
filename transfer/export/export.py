"""Runs an export: builds the model, writes each format, checks the files, and moves them to their
place."""

import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from transfer.backbones.network import load_backbone
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.names import description_file, weights_file
from transfer.classifiers.saved import load_classifier
from transfer.classifiers.temperatures import read_temperature
from transfer.compute.keras import keras
from transfer.dataset.manifest import read_manifest, split_rows
from transfer.dataset.scored_split import scored_split, split_field, title_note
from transfer.export.checks import TOLERANCE, Answers, Checked, check
from transfer.export.end_to_end_model import build_end_to_end
from transfer.export.formats import FORMATS
from transfer.export.model_selection import best_on_validation
from transfer.export.writers import About, write
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import read_array
from transfer.storage.params import Shards

# Height and width as shares of an image's own: every fourth image keeps the shape that `decode`
# gave it.
STRETCHES = ((1, 1), (1.5, 2), (3, 1), (0.6, 1.1))


def export(
    name: str,
    formats: Sequence[str],
    output: Path,
    max_accuracy_drop: float,
    architecture: BackboneParams,
    interpolation: str,
    shards: Shards,
    weights_license: str,
) -> pd.DataFrame:
    """Write a model in each format to `output`, which is replaced as a whole after all formats have
    passed their checks.

    Args:
        name: of the model, or `best`: the lowest validation loss.
        max_accuracy_drop: share of the scored images by which the accuracy of smaller weights may
            be lower.
        weights_license: of the pretrained weights, as each file states it.

    Returns:
        One row per format: file, megabytes, milliseconds per image, accuracy, share of labels
            that are the Keras model's, largest difference; and the scored split, if that is not
            the test split.

    Raises:
        PipelineError: something is missing, or a format's answers are not the Keras model's.
    """
    name = best_on_validation() if name == "best" else name
    classifier = load_classifier(name)
    build = partial(
        build_end_to_end,
        classifier,
        load_backbone(architecture),
        architecture,
        interpolation,
        read_temperature(name),
    )
    about = About(
        classifier.class_names,
        version_of(name),
        architecture.image_size,
        interpolation,
        weights_license,
    )
    manifest = read_manifest()
    split = scored_split(manifest)
    field, whole = split_field(split), build()
    expected = answers_of(whole, manifest, split, shards)
    with tempfile.TemporaryDirectory(dir=_parent(output), prefix=".tmp-") as temporary:
        folder = Path(temporary) / output.name
        folder.mkdir()
        checked = []
        for kind in formats:
            print(f"export: {kind}", flush=True)
            file = folder / FORMATS[kind].file
            write(
                kind, file, whole if FORMATS[kind].takes_any_size else build(resizes=False), about
            )
            checked.append(check(kind, file, expected))
        refuse(checked, expected, max_accuracy_drop, title_note(split))
        table = pd.DataFrame(checked)
        files = table.drop(columns="ms").to_dict("records")
        write_json(
            folder / "export.json", {"model": name, **asdict(about), **field, "files": files}
        )
        replace(output, folder)
    return table.assign(**field)


def answers_of(whole: keras.Model, manifest: pd.DataFrame, split: str, shards: Shards) -> Answers:
    """What the end-to-end model answers for the images of a split, stretched to several shapes."""
    rows = split_rows(manifest, split)
    images = stretched(read_array(inputs_path(split, "images"), shards, rows=len(rows), ndim=4))
    return Answers(
        images,
        np.concatenate([whole.predict_on_batch(image[None]) for image in images]),
        rows["label"].to_numpy(),
    )


def version_of(name: str) -> str:
    """Twelve hexadecimal digits that change with the classifier or its temperature."""
    digest = hashlib.sha256()
    for file in (description_file(name), weights_file(name)):
        digest.update(file.read_bytes())
    digest.update(str(read_temperature(name)).encode())
    return digest.hexdigest()[:12]


def stretched(images: np.ndarray) -> list[np.ndarray]:
    """The images uint8 (N, H, W, 3), stretched to four shapes in turn, because users' images have
    many shapes: each file must resize them as Keras does."""
    factors = itertools.cycle(STRETCHES)
    sides = [
        (round(image.shape[1] * across), round(image.shape[0] * down))
        for image, (down, across) in zip(images, factors, strict=False)
    ]
    return [
        np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC))
        for image, side in zip(images, sides, strict=True)
    ]


def refuse(
    checked: Sequence[Checked], expected: Answers, max_accuracy_drop: float, note: str = ""
) -> None:
    """Stop if a format's answers are not good enough; `note` says which images they are of.

    Raises:
        PipelineError: naming each, and by how much.
    """
    problems = []
    for each in checked:
        if FORMATS[each.format].is_exact and (each.equal_labels < 1 or each.difference > TOLERANCE):
            said = (
                f"{each.equal_labels:.1%} of the labels are equal, probabilities differ by up to "
                f"{each.difference:.2g}"
            )
        elif each.accuracy < expected.accuracy - max_accuracy_drop:
            said = (
                f"accuracy {each.accuracy:.3f} instead of {expected.accuracy:.3f}{note}; allow it "
                "with export.max_accuracy_drop, or leave it out"
            )
        else:
            continue
        problems.append(f"{each.format}: {said}")
    if problems:
        raise PipelineError(
            "not exported, since these do not answer as the Keras model does:\n"
            + "\n".join(problems)
        )


def replace(output: Path, folder: Path) -> None:
    """Put `folder` in the place of `output`; the old content is deleted only after the new one is
    complete."""
    old = folder.with_name("old")
    if output.exists():
        output.rename(old)
    folder.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def _parent(output: Path) -> Path:
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.parent
