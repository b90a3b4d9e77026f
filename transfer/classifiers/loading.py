"""Chooses what computes a trained model, for `evaluate` and `predict`; imports no Keras."""

import os
from typing import TYPE_CHECKING, Union

from transfer.classifiers.converted import CannotConvertError, load_converted
from transfer.classifiers.names import NEIGHBOURS, PROBE
from transfer.compute.litert_support import why_no_litert
from transfer.compute.params import ComputeParams

if TYPE_CHECKING:  # LiteRT need not be installed, and the baselines load Pandas
    from transfer.classifiers.litert_classifier import LiteRTClassifier
    from transfer.classifiers.neighbours import Neighbours
    from transfer.classifiers.probe import ProbeClassifier


def load_without_keras(
    name: str, compute: ComputeParams, frozen_on_keras: bool
) -> Union["LiteRTClassifier", "Neighbours", "ProbeClassifier"]:
    """The model `models/NAME`, ready to be called, on what computes it without Keras: LiteRT on a
    CPU, and NumPy for the baselines.

    Args:
        frozen_on_keras: whether Keras's backend computes the frozen layers.

    Raises:
        CannotConvertError: Keras's backend has to compute it; the message says why.
        PipelineError: the model is missing, skipped or damaged.
    """
    if name == NEIGHBOURS:
        from transfer.classifiers.neighbours import load_neighbours

        return load_neighbours()
    if name == PROBE:
        from transfer.classifiers.probe import load_probe_classifier

        return load_probe_classifier()
    if (reason := why_keras(compute, frozen_on_keras)) is not None:
        raise CannotConvertError(reason)
    return load_converted(name)


def why_keras(compute: ComputeParams, frozen_on_keras: bool) -> str | None:
    """Why networks are computed by Keras's backend; None if LiteRT computes them.

    Args:
        frozen_on_keras: as for `load_without_keras`.
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        return f"KERAS_BACKEND={backend}"
    if frozen_on_keras:
        from transfer.compute.device import has_accelerator

        if has_accelerator():
            return "there is an accelerator"
    return why_no_litert(compute.precision)
