"""The formats by name: file name, and whether its weights are those of the model
to the last bit."""

from typing import NamedTuple


class Format(NamedTuple):
    file: str
    is_exact: bool


FORMATS = {
    "saved_model": Format("saved_model", is_exact=True),
    "onnx": Format("classifier.onnx", is_exact=True),
    "litert": Format("classifier.tflite", is_exact=True),
    "litert_float16": Format("classifier_float16.tflite", is_exact=False),
    "litert_int8": Format("classifier_int8.tflite", is_exact=False),
}
