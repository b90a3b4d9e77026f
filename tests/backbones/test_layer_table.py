"""The recorded layers of the backbone: what `weights` writes is what the heads' stages print."""

import keras
import pytest

from transfer.backbones.layer_table import describe_backbone, record_layers
from transfer.backbones.network import build_backbone
from transfer.backbones.registry import LAYERS
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes, write_json


def nested() -> keras.Model:
    inputs = keras.Input((8, 8, 3), name="pixels")
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)], name="inner")
    return keras.Model(inputs, keras.layers.ReLU(name="relu")(inner(inputs)))


def test_a_row_per_layer_with_its_parameters():
    assert record_layers(nested()) == [
        {"name": "pixels", "type": "InputLayer", "parameters": 0},
        {"name": "inner", "type": "Sequential", "parameters": 112},
        {"name": "relu", "type": "ReLU", "parameters": 0},
    ]


def test_the_description_has_the_layers_with_parameters_and_their_sum(project):
    backbone = build_backbone("VGG16", 32)
    write_json(LAYERS, {"name": "VGG16", "layers": record_layers(backbone)})
    first, *layers, last = describe_backbone().splitlines()
    assert first == "Backbone VGG16, frozen:"
    assert [line.split()[0] for line in layers] == [
        layer.name for layer in backbone.layers if layer.weights
    ]
    assert layers[0].split() == ["block1_conv1", "(Conv2D)", "1,792"]
    assert last.split() == ["parameters", "14,714,688"]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"name": "VGG16"}', '{"name": "a", "layers": [{"name": "b"}]}']
)
def test_a_damaged_table_says_how_to_repair_it(project, content):
    write_bytes(LAYERS, content.encode())
    with pytest.raises(PipelineError, match=r"no table of layers .*; delete it and run `dvc repro"):
        describe_backbone()


def test_a_missing_table_says_how_to_get_it(project):
    with pytest.raises(PipelineError, match="is missing; run `dvc repro weights`"):
        describe_backbone()
