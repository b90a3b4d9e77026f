"""Converts a trained classifier to LiteRT: a program of its own, so that the process that needs the
file does not load TensorFlow.

    python -m transfer.classifiers.conversion NAME FILE
"""

import sys
from pathlib import Path

import numpy as np

from transfer.backbones.conversion import ConversionError, check_equivalence, to_litert
from transfer.backbones.network import last_maps, spatial_outputs
from transfer.classifiers.converted import CANNOT_CONVERT, REFUSED
from transfer.classifiers.litert_classifier import EXPLANATION, LOGITS
from transfer.classifiers.saved import load_classifier
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes

# isort: split

from keras.src.ops.numpy import Sqrt, Sum  # behind transfer.compute.keras
from keras.src.ops.operation import Operation

# each step halves a distant start or doubles the correct digits of a close one
ROOT_STEPS = 32


def convert_classifier(model: keras.Model, input_kind: str) -> bytes:
    """Convert a trained classifier to a LiteRT file that maps one row, float32 (1, ...), to logits
    (1, L) and, if it does not read features, to what EXPLANATION names.

    Args:
        input_kind: `images`, `features` or `cut`, the array that the model reads.

    Raises:
        ConversionError: LiteRT lacks one of the model's operations, or its results differ from
            those of Keras.
    """
    wanted, outputs = [model.output], LOGITS
    if input_kind != "features":
        wanted += [last_maps(model.layers), spatial_outputs(model.layers)[-1]]
        outputs = LOGITS + EXPLANATION
    model = keras.Model(model.input, wanted, name=model.name)
    content = to_litert(portable(model), outputs)
    noise = np.random.default_rng(0).random((1, *model.input_shape[1:]), np.float32)
    largest = 255 if input_kind == "images" else 1
    check_equivalence(model, content, outputs, largest * noise)
    return content


def portable(model: keras.Model) -> keras.Model:
    """The same model, which shares its weights, with operations that LiteRT computes to the same
    bits on every processor.

    XNNPACK adds up a row in as many partial sums as the processor's registers have lanes, and takes
    square roots by instructions that processors approximate differently. So the two halves of a row
    are added to each other until one element is left, those of a picture too whose mean is taken,
    and Heron's method takes the roots.
    """

    def replace(operation: Operation) -> Operation:
        if isinstance(operation, Sum):
            return PairwiseSum(name=operation.name)
        if isinstance(operation, keras.layers.GlobalAveragePooling2D):
            return PairwiseMean(name=operation.name, dtype="float32")
        return HeronRoot(name=operation.name) if isinstance(operation, Sqrt) else operation

    return keras.models.clone_model(model, clone_function=replace, recursive=True)


class PairwiseSum(keras.layers.Layer):
    """Sums of rows (B, D) -> (B, 1), in an order that the model fixes."""

    def call(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        """The sums (B, 1) of rows (B, D)."""
        return _pairwise_sums(rows)


class PairwiseMean(keras.layers.Layer):
    """Means over the pictures (B, h, w, C) -> (B, C), in an order that is part of the model."""

    def call(self, pictures: keras.KerasTensor) -> keras.KerasTensor:
        """The means (B, C) of pictures (B, h, w, C)."""
        _, height, width, channels = pictures.shape
        places = keras.ops.reshape(pictures, (-1, height * width, channels))
        return _pairwise_sums(places)[:, 0] / (height * width)


def _pairwise_sums(values: keras.KerasTensor) -> keras.KerasTensor:
    """Sums along axis 1 of (B, D, ...) -> (B, 1, ...): one half is added to the other until one
    element is left."""
    while (size := values.shape[1]) > 1:
        half = size // 2
        parts = [values[:, :half] + values[:, half : 2 * half], values[:, 2 * half :]]
        values = keras.ops.concatenate(parts, axis=1) if size % 2 else parts[0]
    return values


class HeronRoot(keras.layers.Layer):
    """Square roots by additions, multiplications and divisions, which all processors round
    alike."""

    def call(self, values: keras.KerasTensor) -> keras.KerasTensor:
        """The roots of values of any shape, to within one unit in the last place for 1e-12 to
        1e15."""
        roots = 0.5 * (values + 1)
        for _ in range(ROOT_STEPS):
            roots = 0.5 * (roots + values / roots)
        return roots


def main(name: str, file: Path) -> int:
    """Convert `models/NAME` and write the LiteRT file; the exit code: REFUSED if the model is
    missing or damaged, CANNOT_CONVERT if LiteRT cannot run it. A problem is the last line on
    standard error."""
    try:
        classifier = load_classifier(name)
        write_bytes(file, convert_classifier(classifier.model, classifier.input_kind))
    except (PipelineError, ConversionError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return REFUSED if isinstance(error, PipelineError) else CANNOT_CONVERT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
