"""Reads the calibration temperature that `evaluate` chose for a model."""

import json
import math
from pathlib import Path

from transfer.classifiers.names import EVALUATION
from transfer.runtime.errors import PipelineError


def calibration_file(name: str) -> Path:
    """A model's temperature and threshold, as `evaluate` writes them."""
    return EVALUATION / name / "calibration.json"


def read_temperature(name: str) -> float:
    """The temperature that `evaluate` chose for a model.

    Raises:
        PipelineError: the file is missing or damaged.
    """
    path, stage = calibration_file(name), f"evaluate@{name}"
    if not path.exists():
        raise PipelineError(
            f"{path} is missing: it calibrates the probabilities; run `dvc repro {stage}` or `dvc "
            f"pull {stage}`"
        )
    try:
        temperature = float(json.loads(path.read_text(encoding="utf-8"))["temperature"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PipelineError(
            f"{path} has no temperature ({error}); run `dvc repro {stage}` or `dvc pull {stage}`"
        ) from None
    if not (math.isfinite(temperature) and temperature > 0):
        raise PipelineError(
            f"{path}: temperature = {temperature:g}, must be above 0; run `dvc repro {stage}`"
        )
    return temperature
