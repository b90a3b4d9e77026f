"""Converts the frozen network to LiteRT; needs Keras on TensorFlow."""

import logging
import tempfile

import numpy as np
import tensorflow as tf

from transfer.backbones.litert_network import OUTPUTS, LiteRTNetwork
from transfer.compute.keras import keras

# of the largest activation; eleven networks differed by at most 2.3e-5 (docs/backbones.md)
TOLERANCE = 1e-4


class ConversionError(Exception):
    """The network cannot run on LiteRT; the message says why."""


def convert(frozen: keras.Model) -> bytes:
    """Convert to a LiteRT file that maps one image, float32 (1, H, W, 3) of 0..255, to the
    activations at the cut and the features.

    Args:
        frozen: from `with_preprocessing`, images -> [activations at the cut, features].

    Raises:
        ConversionError: LiteRT lacks one of the network's operations, or computes something else
            than Keras.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of its own converter
    module = tf.Module()
    module.tensors = [variable.value for variable in frozen.variables]
    pixels = tf.TensorSpec((1, *frozen.input_shape[1:]), tf.float32, name="pixels")
    named = tf.function(
        lambda pixels: dict(zip(OUTPUTS, frozen(pixels, training=False), strict=True)),
        input_signature=[pixels],
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(module, folder, signatures=named)
            content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        # the converter has no error type of its own for what it cannot do
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [
                type(error).__name__
            ]
            raise ConversionError(f"TensorFlow's converter refuses it: {lines[-1][:300]}") from None
    check_equivalence(frozen, content)
    return content


def check_equivalence(frozen: keras.Model, content: bytes) -> None:
    """Compare the converted network with the Keras model on a picture of noise.

    Raises:
        ConversionError: an output differs by more than TOLERANCE of its largest value.
    """
    noise = (
        np.random.default_rng(0).integers(0, 256, (1, *frozen.input_shape[1:])).astype(np.float32)
    )
    found = LiteRTNetwork(content, identity=b"")(noise)
    for name, ours, expected in zip(OUTPUTS, found, frozen.predict_on_batch(noise), strict=True):
        difference = np.abs(ours - expected).max() / max(
            np.abs(expected).max(), np.finfo(np.float32).tiny
        )
        if not difference <= TOLERANCE:
            raise ConversionError(
                f"LiteRT computes other activations ({name}) than Keras, by {difference:.2g} of "
                "the largest"
            )
