"""The images that tests label, what a network with ImageNet's classes takes of each, and random
weights as Keras publishes trained ones."""

import io
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from PIL import Image

from tests.helpers.tiny_sources import encode, picture
from transfer.backbones.registry import ARCHITECTURES
from transfer.imagenet.classes import read_classes
from transfer.imagenet.weights import MODEL_INFO

NAME = "MobileNetV3Large"
IN_KERAS = [name for name, known in ARCHITECTURES.items() if known.module is not None]
ALL = [NAME, *(pytest.param(name, marks=pytest.mark.slow) for name in IN_KERAS if name != NAME)]
RESAMPLING = Image.Resampling.BILINEAR
BY_ID = {known.wordnet_id: index for index, known in enumerate(read_classes())}
PICTURES = {
    "a.png": encode(picture(1, 60, 40)),
    "b/c.jpg": encode(picture(2, 40, 90), "JPEG"),
    "b/d.png": encode(picture(3, 50, 50)),
}


def pixels_of(content: bytes, name: str) -> np.ndarray:
    """What the network takes of an image file, as Keras has it: float32 (1, side, side, 3)."""
    image = Image.open(io.BytesIO(content)).resize((MODEL_INFO[name].side,) * 2, RESAMPLING)
    return getattr(keras.applications, ARCHITECTURES[name].module).preprocess_input(
        np.array(image, np.float32)[None]
    )


def publish(name: str, path: Path) -> Path:
    """Random weights in the layout of Keras's published file, which tell images apart as surely as
    trained ones."""
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)(include_top=True, weights=None, classes=1000)
    pixels = np.concatenate([pixels_of(content, name) for content in PICTURES.values()])
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0
    # the means and variances of these pictures: otherwise next to nothing would reach the top
    network(pixels, training=True)
    last = [layer for layer in network.layers if layer.weights][-1]
    while (spread := np.log(network(pixels)).std(axis=1).min()) < 1:
        kernel, bias = last.get_weights()
        last.set_weights([kernel * (2 / spread), bias])
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, network)
    return path
