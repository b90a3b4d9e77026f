"""Learning-rate schedules: pure functions of epoch, step and the validation losses so far, so that
a resumed training repeats them.

Keras's own schedules compute in float32 with the backend's cosine, and its plateau is a callback
whose state no checkpoint holds; these compute in Python's floats, the same for every backend.
"""

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from transfer.runtime.params import Params


class ScheduleParams(Params):
    """Number of epochs and the learning-rate schedule; docs/training.md explains each key."""

    epochs: PositiveInt
    schedule: Literal["constant", "cosine", "plateau"]
    warmup_epochs: NonNegativeInt
    plateau_factor: float = Field(gt=0, lt=1)
    plateau_patience: PositiveInt

    @model_validator(mode="after")
    def _ends_its_warmup(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs = {self.warmup_epochs} leaves none of the {self.epochs} epochs; "
                "choose fewer, or more epochs"
            )
        return self


def learning_rate_factor(
    params: ScheduleParams, epoch: int, step: int, steps: int, losses: Sequence[float]
) -> float:
    """The share of `learning_rate` that a step uses, in [0, 1].

    It rises linearly to 1 over the steps of the first `warmup_epochs` epochs (Goyal et al. 2017,
    arXiv:1706.02677). With `cosine` it then falls along half a cosine, to nearly 0 in the last step
    of the last epoch (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts). With
    `plateau` it is multiplied by `plateau_factor` once per drop that `count_plateau_drops` counts.

    Args:
        epoch, step: counted from 0.
        steps: number of steps per epoch.
        losses: the validation losses of the epochs before this one.
    """
    done, rising = epoch * steps + step, params.warmup_epochs * steps
    if done < rising:
        return (done + 1) / rising
    if params.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (done - rising) / (params.epochs * steps - rising)))
    if params.schedule == "plateau":
        return params.plateau_factor ** count_plateau_drops(losses, params.plateau_patience)
    return 1.0


def count_plateau_drops(losses: Sequence[float], patience: int) -> int:
    """How many times so far `patience` consecutive epochs had no validation loss below the lowest
    before them, as Keras's ReduceLROnPlateau counts."""
    lowest, waited, drops = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss)
        if waited == patience:
            waited, drops = 0, drops + 1
    return drops
