"""Writes the end-to-end model as SavedModel, ONNX and LiteRT, with class names and version inside.
Needs TensorFlow, whose converters it uses."""

import json
import logging
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import tensorflow as tf
import tf2onnx
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transfer.compute.keras import keras
from transfer.export.canonical_onnx import canonical
from transfer.export.formats import FORMATS

ONNX_OPSET = 18  # of ONNX 1.13 (2022), which every recent runtime reads
LABELS, ABOUT = "labels.txt", "about.json"  # inside a LiteRT file, as its metadata names the first


@dataclass(frozen=True)
class About:
    """The metadata of a file. version: changes with the classifier. interpolation: how images are
    resized, a Pillow name in lower case. weights_license: under which licence the pretrained
    weights in it are, and whom to name.
    """

    class_names: list[str]
    version: str
    image_size: int
    interpolation: str
    weights_license: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def write(kind: str, path: Path, model: keras.Model, about: About) -> None:
    """Write a model of `build_end_to_end` in one of the formats of `formats.FORMATS`."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about its own converters
    if kind == "saved_model":
        write_saved_model(path, model, about)
    elif kind == "onnx":
        write_onnx(path, model, about)
    else:
        write_litert(path, model, about, FORMATS[kind].weights)


def write_saved_model(folder: Path, model: keras.Model, about: About) -> None:
    """A folder for TensorFlow: `serve` takes images, `about` gives JSON. The signature
    `serving_default`, which TensorFlow Serving asks for, is `serve` with named output."""
    module = tf.Module()
    # Keras's own export writes each of them twice
    module.tensors = [variable.value for variable in model.variables]
    module.serve = _function(model)
    module.about = tf.function(lambda: tf.constant(about.to_json()), input_signature=[])
    serving = tf.function(
        lambda images: {"probabilities": module.serve(images)},
        input_signature=module.serve.input_signature,
    )
    tf.saved_model.save(module, folder, signatures={"serving_default": serving})
    # holds a number drawn anew each time, and nothing needs it
    (folder / "fingerprint.pb").unlink()
    (folder / "assets").rmdir()  # empty
    _forget_machine(folder / "saved_model.pb")


def _forget_machine(path: Path) -> None:
    """Remove machine-specific settings, such as the number of cores, from a SavedModel's calls, so
    that its bytes repeat."""
    saved = SavedModel.FromString(path.read_bytes())
    for graph in (meta_graph.graph_def for meta_graph in saved.meta_graphs):
        for node in (
            *graph.node,
            *(node for function in graph.library.function for node in function.node_def),
        ):
            if "config_proto" in node.attr:
                node.attr["config_proto"].s = b""
    path.write_bytes(saved.SerializeToString(deterministic=True))


def write_onnx(path: Path, model: keras.Model, about: About) -> None:
    """One file; class names and version are its metadata."""
    # it prints the traceback of each optimization that it leaves out
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    frozen = _frozen(model)
    (images,), (probabilities,) = frozen.inputs, frozen.outputs
    converted, _ = tf2onnx.convert.from_graph_def(
        _without_erfc(_with_calls_opened(frozen.graph.as_graph_def())),
        input_names=[images.name],
        output_names=[probabilities.name],
        opset=ONNX_OPSET,
    )
    for key, value in asdict(about).items():
        converted.metadata_props.add(
            key=key,
            value=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
        )
    path.write_bytes(canonical(converted).SerializeToString(deterministic=True))


def _with_calls_opened(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """A graph in which the converter inlines functions; Keras marks those with grouped convolutions
    to be compiled unchanged."""
    opened = tf.compat.v1.GraphDef.FromString(graph.SerializeToString())
    functions = opened.library.function
    for marked in (
        *functions,
        *opened.node,
        *(node for function in functions for node in function.node_def),
    ):
        for mark in ("_XlaMustCompile", "_noinline"):
            marked.attr.pop(mark, None)
    return opened


def _without_erfc(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """The same graph with 1 - erf for erfc, which TensorFlow's GELU uses and ONNX lacks."""
    rewritten = tf.compat.v1.GraphDef.FromString(graph.SerializeToString())
    for node in [node for node in rewritten.node if node.op == "Erfc"]:
        kind = node.attr["T"]
        one, erf = (
            rewritten.node.add(op="Const", name=f"{node.name}/one"),
            rewritten.node.add(op="Erf", name=f"{node.name}/erf"),
        )
        one.attr["dtype"].CopyFrom(kind)
        one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1, kind.type, shape=()))
        erf.attr["T"].CopyFrom(kind)
        erf.input.extend(node.input)
        node.op = "Sub"
        node.ClearField("input")
        node.input.extend([one.name, erf.name])
    return rewritten


def _function(model: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(
        model, input_signature=[tf.TensorSpec(model.input_shape, tf.uint8, name="images")]
    )


def _frozen(model: keras.Model) -> tf.types.experimental.ConcreteFunction:
    """The function with its weights as constants."""
    return convert_variables_to_constants_v2(_function(model).get_concrete_function())


def write_litert(path: Path, model: keras.Model, about: About, weights: str) -> None:
    """One file for LiteRT (TensorFlow Lite), class names and version in a zip at its end, as its
    metadata tools do.

    Args:
        weights: their type, as in `Format`. Activations stay float32: with int8 activations, the
            resizing, whose positions in a picture have no fixed range, gave wrong labels to half
            of the images of another size.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_frozen(model)], model)
    if weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in (
            (LABELS, "\n".join(about.class_names) + "\n"),
            (ABOUT, about.to_json() + "\n"),
        ):
            archive.writestr(zipfile.ZipInfo(name), text)  # without a date
