"""Discriminative learning rates and gradual unfreezing: which layers of the tail learn, from which
epoch on, and how fast."""

from collections.abc import Callable
from typing import Annotated, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params


class UnfreezeStep(Params):
    """From `epoch` on, counted from 1, the layers from `from_layer` on learn."""

    from_layer: str
    epoch: PositiveInt


class UnfreezingParams(Params):
    """Learning rates by layer and gradual unfreezing; docs/training.md explains each key."""

    layer_lr_decay: float = Field(gt=0, le=1)
    unfreeze: Annotated[list[UnfreezeStep], Field(min_length=1)] | None

    @model_validator(mode="after")
    def _opens_in_order(self) -> Self:
        epochs = [opening.epoch for opening in self.unfreeze or []]
        if epochs != sorted(set(epochs)):
            raise ValueError(
                f"unfreeze has the epochs {', '.join(map(str, epochs))}; each entry needs a later "
                "one than the entry before"
            )
        return self


def rates_by_epoch(
    model: keras.Model, tail: keras.Model, params: UnfreezingParams
) -> Callable[[int], np.ndarray] | None:
    """A function that returns the share of the learning rate that each trainable variable of the
    model has in an epoch, counted from 0: float32 (variables,).

    The head's share is 1. Layers of the tail with trainable weights have layer_lr_decay ** depth,
    where the last layer has depth 1 (discriminative rates, Howard and Ruder 2018,
    arXiv:1801.06146), and 0 until they are unfrozen; without `unfreeze` none is frozen. None if
    every share is always 1.

    Args:
        model: the tail with a head behind it.

    Raises:
        PipelineError: an entry of `unfreeze` names no layer that it can unfreeze.
    """
    if params.layer_lr_decay == 1 and params.unfreeze is None:
        return None
    layers = [layer for layer in tail.layers if layer.trainable_weights]
    place = {
        id(variable): position
        for position, layer in enumerate(layers)
        for variable in layer.trainable_weights
    }
    first_open = _first_open([layer.name for layer in layers], params.unfreeze)

    def rates(epoch: int) -> np.ndarray:
        first = first_open(epoch)
        places = [place.get(id(variable), len(layers)) for variable in model.trainable_variables]
        return np.array(
            [params.layer_lr_decay ** (len(layers) - at) if at >= first else 0 for at in places],
            dtype=np.float32,
        )

    return rates


def _first_open(names: list[str], openings: list[UnfreezeStep] | None) -> Callable[[int], int]:
    """A function that returns the position in `names` of the first layer that learns in an epoch;
    len(names) if only the head does."""
    if openings is None:
        return lambda epoch: 0
    reached = len(names)
    for i, opening in enumerate(openings):
        openable = names[:reached]
        if opening.from_layer not in openable:
            why = (
                "no layer that fine-tuning trains"
                if opening.from_layer not in names
                else "already open by then"
            )
            choice = (
                f"from the cut on there are {', '.join(openable)}"
                if openable
                else "all layers are open by then; take the entry away"
            )
            raise PipelineError(
                f"finetune.unfreeze.{i}.from_layer = {opening.from_layer!r}: {why}; {choice}"
            )
        reached = names.index(opening.from_layer)
    return lambda epoch: min(
        (names.index(each.from_layer) for each in openings if each.epoch <= epoch + 1),
        default=len(names),
    )
