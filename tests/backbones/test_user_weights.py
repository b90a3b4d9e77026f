"""Weights from a file that the user names."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from stages.weights import WeightsParams, main, sources_for
from tests.backbones.builders import error_of, save_legacy, tensors, tiny, with_values
from transfer.backbones.registry import WEIGHTS
from transfer.backbones.weight_sources import UserFile
from transfer.runtime.checksums import file_checksum
from transfer.runtime.params import load_params

# --- a file of the user ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_a_named_file_with_the_known_weights_needs_no_checksum_and_asks_no_source(
    suffix, world, site, set_params, published, tmp_path
):
    path = tmp_path / f"own{suffix}"
    published.save_weights(path) if suffix == ".weights.h5" else save_legacy(published, path)
    set_params(path=str(path))
    main()
    backbone = tiny()
    backbone.load_weights(WEIGHTS)
    assert tensors(backbone) == tensors(published)
    assert site[1].paths == []


def test_a_named_file_with_its_checksum_may_hold_any_weights(world, set_params, tmp_path):
    own = with_values(tiny(), seed=1)
    own.save_weights(tmp_path / "own.weights.h5")
    set_params(
        path=str(tmp_path / "own.weights.h5"),
        sha256=file_checksum(tmp_path / "own.weights.h5").upper(),
    )
    main()
    backbone = tiny()
    backbone.load_weights(WEIGHTS)
    assert tensors(backbone) == tensors(own)


def test_unknown_weights_without_a_checksum_are_refused_with_the_checksum_to_give(
    world, set_params, tmp_path
):
    own = tmp_path / "own.weights.h5"
    with_values(tiny(), seed=1).save_weights(own)
    set_params(path=str(own))
    message = error_of(main)
    assert f"weights.path, {own}: the tensors are not the known weights of tiny" in message
    assert f"set weights.sha256: {file_checksum(own)}" in message
    assert not WEIGHTS.exists()


def test_a_file_for_a_backbone_without_known_weights_needs_a_checksum(set_params):
    set_params("VGG19", path="own.weights.h5")
    message = error_of(lambda: sources_for("VGG19", load_params(WeightsParams, "weights")))
    assert (
        "weights.path = 'own.weights.h5'" in message
        and "weights.sha256 (`sha256sum own.weights.h5`)" in message
    )


def test_a_missing_file_is_named_with_what_to_do(world, set_params):
    set_params(path="nowhere.h5")
    message = error_of(main)
    assert "weights.path = 'nowhere.h5': no such file" in message and "null" in message


def test_a_file_with_another_checksum_is_refused_with_both(world, set_params, published, tmp_path):
    path = save_legacy(published, tmp_path / "own.h5")
    set_params(path=str(path), sha256="f" * 64)
    message = error_of(main)
    assert str(path) in message and file_checksum(path) in message and "f" * 64 in message


def write_vgg_like(path: Path) -> None:
    """Weights of a network with another number of layers,
    in the layout that the suffix asks for."""
    images = keras.Input((32, 32, 3))
    other = keras.Model(images, keras.layers.Conv2D(4, 3, name="block1_conv1")(images))
    other.save_weights(path) if path.name.endswith(".weights.h5") else save_legacy(other, path)


def write_other_shapes(path: Path) -> None:
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 5, name="block1_conv1")(images)
    other = keras.Model(images, keras.layers.Conv2D(5, 3, name="block2_conv1")(x))
    other.save_weights(path) if path.name.endswith(".weights.h5") else save_legacy(other, path)


def write_unrelated_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)


def write_truncated(path: Path) -> None:
    tiny().save_weights(path.with_name("whole.weights.h5"))
    path.write_bytes(path.with_name("whole.weights.h5").read_bytes()[:-500])


@pytest.mark.parametrize("name", ["own.h5", "own.weights.h5"])
@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("no HDF5"),
        write_vgg_like,
        write_other_shapes,
        write_unrelated_hdf5,
        write_truncated,
    ],
)
def test_a_file_that_does_not_hold_this_backbones_weights_is_refused(write, name, tmp_path):
    write(tmp_path / name)
    message = error_of(lambda: UserFile(tmp_path / name, None).load_into(tiny()))
    assert message.startswith(
        f"weights.path = '{tmp_path / name}': not weights of tiny without its top: "
    )


def test_a_file_of_another_kind_is_refused_with_the_kinds_that_are_read(tmp_path):
    tiny().save(tmp_path / "own.keras")
    message = error_of(lambda: UserFile(tmp_path / "own.keras", None).load_into(tiny()))
    assert "own.keras" in message and ".weights.h5" in message and "keras.applications" in message


def test_a_file_that_links_to_weights_in_another_file_is_refused(
    world, set_params, published, tmp_path
):
    save_legacy(published, tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "r") as other, h5py.File(tmp_path / "own.h5", "w") as own:
        own.attrs.update(other.attrs)
        for name in other:
            own[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), f"/{name}")
    set_params(path=str(tmp_path / "own.h5"))
    message = error_of(main)
    assert f"weights.path = '{tmp_path / 'own.h5'}': not weights of tiny" in message
    assert "Not allowed: H5 file with ExternalLink" in message
