"""Fine-tuning by layers: which learn, from when on, and how fast."""

import keras
import numpy as np
import pytest
from dvc.utils.hydra import apply_overrides
from pydantic import ValidationError

from stages.finetune import FinetuneParams
from tests.helpers.tiny_sources import TRAINING, write_params
from transfer.dataset.examples import Examples
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_params
from transfer.training.loop import compile_classifier, fit
from transfer.training.unfreezing import rates_by_epoch

LAYERS = ["conv1", "conv2", "conv3"]


def finetune_params(**changes) -> FinetuneParams:
    return FinetuneParams(**TRAINING | {"layer_lr_decay": 1, "unfreeze": None} | changes)


def opening(*pairs: tuple[str, int]) -> list[dict]:
    return [{"from_layer": name, "epoch": epoch} for name, epoch in pairs]


@pytest.fixture
def networks() -> tuple[keras.Model, keras.Model]:
    """A tail of three convolutions with a frozen normalization in between, and the model of it and
    a head of two layers."""
    keras.utils.set_random_seed(0)
    cut = keras.Input((4, 4, 2))
    features = keras.layers.Conv2D(3, 1, name="conv1")(cut)
    features = keras.layers.BatchNormalization(name="norm", trainable=False)(features)
    features = keras.layers.Conv2D(3, 1, name="conv2")(features)
    features = keras.layers.MaxPooling2D(name="pool")(features)
    tail = keras.Model(cut, keras.layers.Conv2D(3, 1, name="conv3")(features))
    shape = keras.Input(tail.output_shape[1:])
    flat = keras.layers.Flatten()(shape)
    head = keras.Model(shape, keras.layers.Dense(1)(keras.layers.Dense(4)(flat)))
    return keras.Model(tail.input, head(tail.output)), tail


def test_by_default_all_have_the_whole_rate(networks):
    assert rates_by_epoch(*networks, finetune_params()) is None


def test_lower_rates_for_deeper_layers(networks):
    """Kernel and bias of each layer; the head has the whole rate, and the frozen normalization does
    not count."""
    rates = rates_by_epoch(*networks, finetune_params(layer_lr_decay=0.5))
    assert (
        rates(0).tolist() == rates(7).tolist() == [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1, 1, 1, 1]
    )


def test_layers_are_opened_in_their_epoch(networks):
    rates = rates_by_epoch(
        *networks, finetune_params(unfreeze=opening(("conv3", 2), ("conv1", 3)), layer_lr_decay=0.5)
    )
    assert rates(0).tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert rates(1).tolist() == [0, 0, 0, 0, 0.5, 0.5, 1, 1, 1, 1]
    assert rates(2).tolist() == [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1, 1, 1, 1]


def weights_by_epoch(networks, **changes) -> list[dict[str, bytes]]:
    """The bytes of each layer's weights before each epoch and after the last."""
    model, tail = networks
    chosen = finetune_params(epochs=4, **changes)
    rng = np.random.default_rng(0)
    data = Examples(rng.random((8, 4, 4, 2), dtype=np.float32), np.arange(8) % 2)
    seen = []

    def look() -> None:
        layers = [*tail.layers, *model.layers[-1].layers]
        seen.append(
            {
                layer.name: b"".join(w.tobytes() for w in layer.get_weights())
                for layer in layers
                if layer.get_weights()
            }
        )

    rates = rates_by_epoch(model, tail, chosen)
    compile_classifier(model, chosen, by_layer=rates is not None)
    fit(model, lambda epoch: (look(), data.inputs)[1], data.labels, data, chosen, rates=rates)
    look()
    return seen


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "ema_momentum": 0.9}]
)
def test_no_bit_of_a_layer_changes_before_its_epoch(networks, options):
    seen = weights_by_epoch(networks, unfreeze=opening(("conv3", 2), ("conv2", 4)), **options)
    changed = [
        {name for name in before if before[name] != after[name]}
        for before, after in zip(seen[:-1], seen[1:], strict=True)
    ]
    head = set(seen[0]) - {*LAYERS, "norm"}
    assert len(head) == 2
    assert changed == [head, head | {"conv3"}, head | {"conv3"}, head | {"conv3", "conv2"}]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (
            [("conv3", 1), ("block4_conv1", 2)],
            r"unfreeze.1.from_layer = 'block4_conv1': no layer that .*; .* there are conv1, conv2$",
        ),
        (
            [("pool", 1)],
            r"unfreeze.0.from_layer = 'pool': no layer that fine-tuning trains; from the cut on "
            r"there are conv1, conv2, conv3$",
        ),
        ([("norm", 1)], "'norm': no layer that fine-tuning trains"),
        (
            [("conv2", 1), ("conv3", 2)],
            "'conv3': already open by then; from the cut on there are conv1$",
        ),
        (
            [("conv1", 1), ("conv1", 2)],
            "'conv1': already open by then; all layers are open by then; take the entry away",
        ),
    ],
)
def test_an_entry_that_opens_nothing_names_what_there_is(networks, pairs, words):
    with pytest.raises(PipelineError, match=words):
        rates_by_epoch(*networks, finetune_params(unfreeze=opening(*pairs)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unfreeze": []}, "at least 1 item"),
        (
            {"unfreeze": opening(("conv3", 2), ("conv2", 2))},
            "unfreeze has the epochs 2, 2; each entry needs a later one",
        ),
        (
            {"unfreeze": opening(("conv3", 4))},
            "unfreeze opens conv3 in epoch 4, and epochs = 3; open it earlier",
        ),
        ({"unfreeze": opening(("conv3", 0))}, "greater than 0"),
        ({"unfreeze": ["conv3"]}, "valid dictionary"),
        ({"layer_lr_decay": 0}, "greater than 0"),
        ({"layer_lr_decay": 1.1}, "less than or equal to 1"),
    ],
)
def test_orders_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        finetune_params(**changes)


def test_the_list_can_be_given_to_an_experiment(project):
    """As `dvc exp run -S` writes it."""
    write_params(project)
    apply_overrides(
        "params.yaml",
        [
            "finetune.unfreeze=[{from_layer: block5_conv3, epoch: 2}, {from_layer: block5_conv1, "
            "epoch: 4}]"
        ],
    )
    found = load_params(FinetuneParams, "finetune").unfreeze
    assert [(entry.from_layer, entry.epoch) for entry in found] == [
        ("block5_conv3", 2),
        ("block5_conv1", 4),
    ]


def test_an_error_names_its_key(project):
    write_params(
        project,
        finetune={"unfreeze": [{"from_layer": "block5_conv3", "epoch": 11}], "warmup_epochs": "x"},
    )
    with pytest.raises(
        PipelineError,
        match="params.yaml: finetune.warmup_epochs = 'x': Input should be a valid integer",
    ):
        load_params(FinetuneParams, "finetune")
    write_params(project, finetune={"unfreeze": [{"from_layer": "block5_conv3", "epoch": 11}]})
    with pytest.raises(
        PipelineError,
        match=r"^params.yaml: finetune: unfreeze opens block5_conv3 in epoch 11, and epochs = 10",
    ):
        load_params(FinetuneParams, "finetune")
