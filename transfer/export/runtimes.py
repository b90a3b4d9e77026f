"""Exported files run by their own runtimes."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Run = Callable[[np.ndarray], np.ndarray]


def open_runtime(path: Path) -> Run:
    """What runs an exported classifier: one image uint8 (h, w, 3) -> probabilities float32 (C,), on
    one thread."""
    if path.is_dir():
        return _saved_model(path)
    return {".onnx": _onnx, ".tflite": _litert}[path.suffix](path)


def _saved_model(folder: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    return lambda image: loaded.serve(image[None]).numpy()[0]


def _onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    return lambda image: session.run(None, {images.name: image[None]})[0][0]


def _litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    (images,), (probabilities,) = interpreter.get_input_details(), interpreter.get_output_details()
    takes_any_size = -1 in images["shape_signature"]
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read("about.json"))

    def run(image: np.ndarray) -> np.ndarray:
        if takes_any_size:
            interpreter.resize_tensor_input(images["index"], image[None].shape)
        else:
            side, filter_name = about["image_size"], about["interpolation"].upper()
            picture = Image.fromarray(image).resize((side, side), Image.Resampling[filter_name])
            image = np.asarray(picture)
        interpreter.allocate_tensors()
        interpreter.set_tensor(images["index"], image[None])
        interpreter.invoke()
        return interpreter.get_tensor(probabilities["index"])[0].copy()

    return run
