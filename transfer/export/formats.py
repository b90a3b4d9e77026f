"""The formats by name."""

from typing import Literal, NamedTuple


class Format(NamedTuple):
    """file: its name. weights: the type of its weights. takes_any_size: it resizes images itself;
    else it takes one image at the network's size."""

    file: str
    weights: Literal["float32", "float16", "int8"] = "float32"
    takes_any_size: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether the weights are those of the model to the last bit."""
        return self.weights == "float32"


FORMATS = {
    "saved_model": Format("saved_model"),
    "onnx": Format("classifier.onnx"),
    "litert": Format("classifier.tflite"),
    "litert_fixed": Format("classifier_fixed.tflite", takes_any_size=False),
    "litert_float16": Format("classifier_float16.tflite", weights="float16"),
    "litert_int8": Format("classifier_int8.tflite", weights="int8"),
}
