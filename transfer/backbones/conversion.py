"""Converts Keras models to LiteRT; needs Keras on TensorFlow."""

import errno
import logging
import re
import tempfile

import numpy as np
import tensorflow as tf

from transfer.backbones.litert_network import OUTPUTS
from transfer.compute.keras import keras
from transfer.compute.litert import InterpreterPool

# of the largest activation; eleven networks differed by at most 2.3e-5 (docs/backbones.md)
TOLERANCE = 1e-4


class ConversionError(Exception):
    """The network cannot run on LiteRT; the message says why."""


def convert(frozen: keras.Model) -> bytes:
    """Convert to a LiteRT file that maps one image, float32 (1, H, W, 3) of 0..255, to the
    activations at the cut, the features and, if the network gives them, the last maps.

    Args:
        frozen: from `with_preprocessing`.

    Raises:
        ConversionError: LiteRT lacks one of the network's operations, or its results differ from
            those of Keras.
    """
    outputs = OUTPUTS[: len(frozen.outputs)]
    content = to_litert(frozen, outputs)
    noise = (
        np.random.default_rng(0).integers(0, 256, (1, *frozen.input_shape[1:])).astype(np.float32)
    )
    check_equivalence(frozen, content, outputs, noise)
    return content


def to_litert(model: keras.Model, outputs: tuple[str, ...]) -> bytes:
    """Convert a Keras model to a LiteRT file that maps one row, float32 (1, ...), to its outputs.

    Args:
        outputs: names that the model's outputs get in the file, in their order.

    Raises:
        ConversionError: TensorFlow's converter refuses the model.
        OSError: the temporary folder cannot hold it.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about its own converter
    module = tf.Module()
    module.tensors = [variable.value for variable in model.variables]
    pixels = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="pixels")
    named = tf.function(
        lambda pixels: dict(
            zip(outputs, tf.nest.flatten(model(pixels, training=False)), strict=True)
        ),
        input_signature=[pixels],
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(module, folder, signatures=named)
            return tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        except (tf.errors.OpError, OSError) as error:
            # a full disk is no fault of the model, so no other runtime may take its place
            said = getattr(error, "message", None) or str(error.strerror)
            said = re.sub(r"\{\{.*?\}\} | \[Op:\w+\]", "", said)  # names of TensorFlow's own
            raise OSError(errno.EIO, said, folder) from None
        # the converter raises no specific error for what it cannot do
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [
                type(error).__name__
            ]
            raise ConversionError(f"TensorFlow's converter refuses it: {lines[-1][:300]}") from None


def check_equivalence(
    model: keras.Model, content: bytes, outputs: tuple[str, ...], noise: np.ndarray
) -> None:
    """Compare the converted network with the Keras model on one row of noise.

    Args:
        content: from `to_litert`.
        noise: float32 (1, ...).

    Raises:
        ConversionError: an output differs by more than TOLERANCE of its largest value.
    """
    found = InterpreterPool(content, outputs).run(noise)
    expected_outputs = tf.nest.flatten(model.predict_on_batch(noise))
    for name, ours, expected in zip(outputs, found, expected_outputs, strict=True):
        difference = np.abs(ours - expected).max() / max(
            np.abs(expected).max(), np.finfo(np.float32).tiny
        )
        if not difference <= TOLERANCE:
            raise ConversionError(
                f"LiteRT computes other activations ({name}) than Keras, by {difference:.2g} of "
                "the largest"
            )
