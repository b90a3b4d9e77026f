"""The description that is saved with a trained classifier's weights, and the files of a classifier
that was skipped; needs no Keras."""

import json
from dataclasses import dataclass
from pathlib import Path

from transfer.classifiers.names import (
    BASELINES,
    HISTORY,
    SCORES,
    choices_file,
    description_file,
    history_file,
    is_skipped,
    weights_file,
)
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes, write_csv, write_json


@dataclass(frozen=True)
class Description:
    """A trained classifier as its files describe it.

    Attributes:
        file: the description, JSON.
        weights: the file of the weights.
        content: bytes of `file`, which hold the architecture.
        input_kind: `images`, `features` or `cut`, the array that the classifier reads.
        class_names: the classes by label.
        epoch: the epoch whose weights these are, from 1; None for a baseline.
    """

    file: Path
    weights: Path
    content: bytes
    input_kind: str
    class_names: list[str]
    epoch: int | None


def read_description(name: str) -> Description:
    """Read the description of a classifier.

    Raises:
        PipelineError: a file is missing, the training was skipped, or the description is damaged.
    """
    file, weights = description_file(name), weights_file(name)
    for each in (file, weights):
        if not each.exists():
            raise PipelineError(f"{each} is missing; run `dvc repro` or `dvc pull`")
    if is_skipped(name):
        raise PipelineError(
            f"{file}: it was skipped, so there is no such model; params.yaml says whether it is "
            "trained"
        )
    content = file.read_bytes()
    try:
        recorded = json.loads(content)
        input_kind, class_names = recorded["input_kind"], recorded["class_names"]
        epoch = None if name in BASELINES else recorded["epoch"]
        _check(input_kind, class_names, epoch, has_epoch=name not in BASELINES)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PipelineError(
            f"{file} and {weights.name} are damaged or do not belong together: {error}"
        ) from None
    return Description(file, weights, content, input_kind, class_names, epoch)


def save_skipped(name: str, why: str) -> None:
    """Write the files of a classifier that was not trained, without weights and rows, so that
    readers find them."""
    write_json(description_file(name), {"skipped": why})
    write_bytes(weights_file(name), b"")
    if name in BASELINES:
        write_csv(choices_file(name), SCORES, [])
    else:
        write_csv(history_file(name), HISTORY, [])


def _check(input_kind: object, class_names: object, epoch: object, *, has_epoch: bool) -> None:
    """Refuse values that `save_classifier` cannot have written.

    Raises:
        ValueError: it cannot have written one of them.
    """
    if input_kind not in ("images", "features", "cut") or (has_epoch and type(epoch) is not int):
        raise ValueError(f"input_kind = {input_kind!r}, epoch = {epoch!r}")
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"class_names = {class_names!r}")
