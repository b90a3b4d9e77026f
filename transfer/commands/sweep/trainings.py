"""Runs the pipeline's three trainings, each in its own folder by its own stage, from the arrays
that `dvc repro augment` cached."""

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy.stats import ttest_rel

from stages import finetune, train_augmented, train_head
from transfer.classifiers.names import MODELS, description_file, history_file, weights_file
from transfer.compute.keras import keras
from transfer.runtime.dvc_files import checksum, input_fingerprint, read_stage
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write
from transfer.runtime.params import read_params
from transfer.training.loop import TrainingParams


class Training(NamedTuple):
    """main: of the stage. params: the class of its section of params.yaml.
    model: what it writes, `models/MODEL`."""

    main: Callable[[], None]
    params: type[TrainingParams]
    model: str


class Scores(NamedTuple):
    """On the validation split, of the epoch that is kept."""

    loss: float
    accuracy: float


TRAININGS = {  # by section of params.yaml, in the order of the pipeline
    "train_head": Training(train_head.main, train_head.TrainHeadParams, "head"),
    "train_augmented": Training(
        train_augmented.main, train_augmented.TrainAugmentedParams, "augmented"
    ),
    "finetune": Training(finetune.main, finetune.FinetuneParams, "finetuned"),
}


def prepare(folder: Path, links: Iterable[str], changes: dict[str, dict]) -> None:
    """Make a folder in which stages find these files and folders of the project, by links, and a
    copy of its params.yaml with changes by section.

    Raises:
        PipelineError: one of them is not there.
    """
    (folder / "models").mkdir(parents=True)
    for name in links:
        if not Path(name).exists():
            raise PipelineError(f"{name} is missing; run `dvc repro augment` or `dvc pull`")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(Path(name).resolve())
    changed = {
        section: values | changes.get(section, {}) for section, values in read_params().items()
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")


def train(section: str) -> None:
    """Run a training's stage in the working directory, silently; raises what it raises."""
    keras.backend.clear_session()  # otherwise layers are numbered on from an earlier training
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        TRAININGS[section].main()


def measure(
    store: Path, params: Mapping[str, TrainingParams], section: str, changes: dict, shift: int
) -> Scores:
    """The validation scores of a training with params.yaml's seed plus `shift`; from the store if
    it was trained before.

    Args:
        params: params.yaml's section of each training.
        changes: of the section `section`.

    Raises:
        PipelineError: the training refuses its parameters or its loss is not finite; an array is
            missing.
    """
    model = TRAININGS[section].model
    entry = _trained(store, params, section, changes, shift, [description_file, history_file])
    epoch = json.loads(description_file(model, entry).read_text(encoding="utf-8"))["epoch"]
    history = pd.read_csv(history_file(model, entry), index_col="epoch")
    return Scores(float(history["val_loss"][epoch]), float(history["val_accuracy"][epoch]))


def _trained(
    store: Path,
    params: Mapping[str, TrainingParams],
    section: str,
    changes: dict,
    shift: int,
    files: Sequence[Callable[[str, Path], Path]],
) -> Path:
    """The folder of the store with the files of a training, which runs if one is missing.

    Fine-tuning starts from params.yaml's augmented model with its own seed plus `shift`.
    """
    model, own = TRAININGS[section].model, params[section].seed
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        read = read_stage(section)["deps"]
        started = [name for name in read if name.startswith("models/")]
        prepare(
            folder,
            ["dvc.yaml", *(name for name in read if name not in started)],
            {section: {**changes, "seed": own + shift}},
        )
        for name in started:
            whole = (description_file, weights_file, history_file)
            start = _trained(store, params, "train_augmented", {}, shift, whole)
            (folder / name).symlink_to((start / Path(name).name).resolve())
        with contextlib.chdir(folder):
            # it is a cache by name, and other folders have other models under the same names
            checksum.cache_clear()
            entry = input_fingerprint(section)
        if not all(file(model, store / entry).exists() for file in files):
            with contextlib.chdir(folder):
                train(section)
            for file in files:
                with atomic_write(file(model, store / entry)) as whole:
                    shutil.copyfile(file(model, folder / MODELS), whole)
    return store / entry


def paired(scores_: pd.Series, defaults: pd.Series) -> tuple[float, float, float, float]:
    """The mean difference over seeds with its 95 % interval, and p; both by seed."""
    difference = scores_ - defaults.loc[scores_.index]
    mean = float(difference.mean())
    if np.ptp(difference) == 0:  # the test divides by their deviation
        return mean, mean, mean, 1.0 if mean == 0 else 0.0
    tested = ttest_rel(scores_, defaults.loc[scores_.index])
    return mean, *tested.confidence_interval(0.95), float(tested.pvalue)
