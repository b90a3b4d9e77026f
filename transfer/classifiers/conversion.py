"""Converts a trained classifier to LiteRT: a program of its own, so that whoever needs the file
loads no TensorFlow.

    python -m transfer.classifiers.conversion NAME FILE
"""

import sys
from pathlib import Path

import numpy as np

from transfer.backbones.conversion import ConversionError, check_equivalence, to_litert
from transfer.classifiers.converted import CANNOT_CONVERT, REFUSED
from transfer.classifiers.litert_classifier import OUTPUTS
from transfer.classifiers.saved import Classifier, load_classifier
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes


def convert_classifier(classifier: Classifier) -> bytes:
    """Convert to a LiteRT file that maps one row, float32 (1, ...), to logits (1, L).

    Raises:
        ConversionError: LiteRT lacks one of the model's operations, or computes something else than
            Keras.
    """
    content = to_litert(classifier.model, OUTPUTS)
    noise = np.random.default_rng(0).random((1, *classifier.model.input_shape[1:]), np.float32)
    largest = 255 if classifier.input_kind == "images" else 1
    check_equivalence(classifier.model, content, OUTPUTS, largest * noise)
    return content


def main(name: str, file: Path) -> int:
    """Convert `models/NAME` and write the LiteRT file; the exit code: REFUSED if the model is
    missing or damaged, CANNOT_CONVERT if LiteRT cannot run it. A problem is the last line on
    standard error."""
    try:
        write_bytes(file, convert_classifier(load_classifier(name)))
    except (PipelineError, ConversionError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return REFUSED if isinstance(error, PipelineError) else CANNOT_CONVERT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
