"""The formats by name."""

from typing import NamedTuple


class Format(NamedTuple):
    """file: its name. is_exact: its weights are those of the model to the last bit. takes_any_size:
    it resizes images itself; else it takes one image at the network's size."""

    file: str
    is_exact: bool
    takes_any_size: bool = True


FORMATS = {
    "saved_model": Format("saved_model", is_exact=True),
    "onnx": Format("classifier.onnx", is_exact=True),
    "litert": Format("classifier.tflite", is_exact=True),
    "litert_fixed": Format("classifier_fixed.tflite", is_exact=True, takes_any_size=False),
    "litert_float16": Format("classifier_float16.tflite", is_exact=False),
    "litert_int8": Format("classifier_int8.tflite", is_exact=False),
}
