"""Reads the calibration temperatures that `evaluate` chose."""

import json
import math
from pathlib import Path

from transfer.runtime.errors import PipelineError

CALIBRATION = Path("models/calibration.json")


def read_temperature(name: str, path: Path = CALIBRATION) -> float:
    """The temperature that `evaluate` chose for a model.

    Raises:
        PipelineError: the file is missing or damaged, or does not have the model.
    """
    if not path.exists():
        raise PipelineError(
            f"{path} is missing: it calibrates the probabilities; run `dvc repro evaluate` or `dvc "
            "pull evaluate`"
        )
    try:
        temperature = float(json.loads(path.read_text(encoding="utf-8"))[name]["temperature"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PipelineError(
            f"{path} has no temperature for {name} ({error}); run `dvc repro evaluate` or `dvc "
            "pull evaluate`"
        ) from None
    if not (math.isfinite(temperature) and temperature > 0):
        raise PipelineError(
            f"{path}: temperature of {name} = {temperature:g}, must be above 0; run `dvc repro "
            "evaluate`"
        )
    return temperature
