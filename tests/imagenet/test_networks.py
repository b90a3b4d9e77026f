"""Each network's size, preprocessing, file and number of parameters are those of its publisher."""

import io
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from PIL import Image

from tests.backbones.torch_files import random_tensors, torch_file
from tests.helpers.labels import ALL, IN_KERAS, PICTURES, RESAMPLING, pixels_of
from transfer.backbones.efficientnet_lite import SCALES, build_efficientnet_lite, load_tensors
from transfer.backbones.registry import ARCHITECTURES
from transfer.imagenet.labeller import Labeller
from transfer.imagenet.weights import DEFAULT, MODEL_INFO
from transfer.sources.source_file import SourceFile

pytestmark = pytest.mark.usefixtures("eager")


def tiny(include_top: bool, weights: None, input_shape: tuple, classes: int) -> keras.Model:
    """In a network's stead: the mean of each colour, and a dense layer."""
    assert include_top and weights is None
    images = keras.Input(input_shape)
    means = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(
        images,
        keras.layers.Dense(classes, activation="softmax", kernel_initializer="random_normal")(
            means
        ),
    )


@pytest.mark.parametrize("name", IN_KERAS)
def test_each_network_gets_its_own_size_and_preprocessing(name, tmp_path, monkeypatch):
    network = tiny(True, None, (MODEL_INFO[name].side,) * 2 + (3,), 1000)
    network.set_weights([100 * value for value in network.get_weights()])
    with h5py.File(tmp_path / "tiny.h5", "w") as file:
        save_weights_to_hdf5_group(file, network)
    monkeypatch.setattr(keras.applications, name, tiny)
    (row,) = Labeller(name, tmp_path / "tiny.h5", "bilinear").stream(
        [SourceFile("a.png", PICTURES["a.png"])]
    )
    assert (
        row.prediction.probabilities
        == network.predict_on_batch(pixels_of(PICTURES["a.png"], name))[0]
    ).all()


@pytest.mark.parametrize("name", SCALES)
def test_an_efficientnet_lite_is_labelled_from_its_published_file(name, tmp_path):
    (tmp_path / "lite.pth").write_bytes(torch_file(random_tensors(name)))
    (row,) = Labeller(name, tmp_path / "lite.pth", "bilinear").stream(
        [SourceFile("a.png", PICTURES["a.png"])]
    )
    side = {"EfficientNetLite0": 224, "EfficientNetLite1": 240, "EfficientNetLite2": 260}[name]
    image = Image.open(io.BytesIO(PICTURES["a.png"])).resize((side, side), RESAMPLING)
    network = build_efficientnet_lite(name, keras.Input((side, side, 3)), include_top=True)
    load_tensors(network, random_tensors(name))
    expected = network.predict_on_batch(np.array(image, np.float32)[None])[0]
    assert (row.prediction.probabilities == expected).all()
    assert network.count_params() == MODEL_INFO[name].parameters


@pytest.mark.filterwarnings("ignore:.input_shape. is undefined")
@pytest.mark.parametrize("name", ALL)
def test_what_is_written_down_of_a_network_is_what_keras_builds_and_keeps(name, monkeypatch):
    module = sys.modules[getattr(keras.applications, name).__module__]
    asked, built = [], []

    def record(fname, origin, cache_subdir, file_hash):
        asked.append((fname, origin, cache_subdir, file_hash))
        raise FileNotFoundError

    monkeypatch.setattr(module.file_utils, "get_file", record)
    monkeypatch.setattr(
        module,
        "Functional",
        lambda *words, **more: built.append(keras.Model(*words, **more)) or built[-1],
    )
    with pytest.raises(FileNotFoundError):
        getattr(keras.applications, name)()
    whole = ARCHITECTURES[name].whole
    assert asked == [(Path(whole.path).name, whole.url, "models", whole.checksum)]
    assert built[0].count_params() == MODEL_INFO[name].parameters
    # MobileNetV3 leaves it open; its file's name has 224
    assert built[0].input_shape[1] in (MODEL_INFO[name].side, None)


def test_the_table_has_every_network_and_the_default_is_the_smallest():
    assert list(MODEL_INFO) == list(ARCHITECTURES)
    assert min(MODEL_INFO, key=lambda name: MODEL_INFO[name].parameters) == DEFAULT
