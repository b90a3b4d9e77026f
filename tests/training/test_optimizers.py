"""The optimizers, step by step against what their formulas give by hand,
and against Keras's own."""

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from tests.training.test_loop import examples, params
from transfer.classifiers.head import build_head
from transfer.training.loop import compile_classifier, fit, validate
from transfer.training.optimizers import averages_of, build_optimizer

RATE = 0.1
KERNEL, BIAS = np.float32([[1.5, -2.0], [0.25, 4.0]]), np.float32([0.5, -1.0])
GRADIENTS = [(np.float32(KERNEL * 0.3 + step), np.float32(BIAS - step)) for step in range(4)]
OPTIMIZERS = [
    {"optimizer": "rmsprop"},
    {"optimizer": "adam"},
    {"optimizer": "adamw", "weight_decay": 0.5},
    {"optimizer": "sgd"},
]


def stepped(
    optimizer: keras.optimizers.Optimizer, steps: int, factors: tuple[float, float] | None = None
) -> list[np.ndarray]:
    """A kernel and a bias after so many steps."""
    variables = [keras.Variable(KERNEL, name="kernel"), keras.Variable(BIAS, name="bias")]
    optimizer.build(variables)
    if factors is not None:
        optimizer.factors.assign(np.float32(factors))
    for gradients in GRADIENTS[:steps]:
        optimizer.apply(
            [keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables
        )
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def built(by_layer: bool = False, **changes) -> keras.optimizers.Optimizer:
    return build_optimizer(params(learning_rate=RATE, **changes), by_layer)


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("by_layer", [False, True])
@pytest.mark.parametrize(
    ("changes", "keras_own"),
    [
        ({"optimizer": "rmsprop"}, lambda: keras.optimizers.RMSprop(RATE)),
        ({"optimizer": "adam"}, lambda: keras.optimizers.Adam(RATE)),
        ({"optimizer": "sgd"}, lambda: keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True)),
    ],
)
def test_an_optimizer_is_keras_own(changes, keras_own, by_layer):
    assert_close(stepped(built(by_layer, **changes), 4), stepped(keras_own(), 4))


def test_adamw_is_keras_own_on_kernels_and_leaves_biases_alone():
    found = stepped(built(optimizer="adamw", weight_decay=0.5), 4)
    assert_close(
        found,
        [
            stepped(keras.optimizers.AdamW(RATE, weight_decay=0.5), 4)[0],
            stepped(keras.optimizers.Adam(RATE), 4)[1],
        ],
    )


def test_l2_is_twice_the_kernel_more_of_gradient():
    found = stepped(built(optimizer="sgd", l2=0.05), 1)
    assert_close(
        found,
        [
            KERNEL - 1.9 * RATE * (GRADIENTS[0][0] + 2 * 0.05 * KERNEL),
            BIAS - 1.9 * RATE * GRADIENTS[0][1],
        ],
    )


def test_l2_trains_as_keras_penalty_does_and_stays_out_of_the_losses():
    data = examples(16)
    heads, losses = [], []
    for ours in (True, False):
        keras.utils.set_random_seed(1)
        head = build_head((1, 1, 6), units=8, dropout=0, normalize=False, n_classes=2)
        for kernel in head.weights[::2] if not ours else ():
            kernel.regularizer = keras.regularizers.L2(0.03)
        chosen = params(l2=0.03 if ours else 0)
        compile_classifier(head, chosen)
        losses.append(
            fit(head, lambda epoch: data.inputs, data.labels, data, chosen)
            .history[["loss", "val_loss"]]
            .to_numpy()
        )
        heads.append(head)
    assert_close(*(head.get_weights() for head in heads))
    penalty = 0.03 * sum((kernel**2).sum() for kernel in heads[0].get_weights()[::2])
    assert losses[1][-1, 1] - losses[0][-1, 1] == pytest.approx(penalty, rel=1e-4)


@pytest.mark.parametrize("changes", OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"l2": 0.1, "ema_momentum": 0.9}])
def test_a_variable_of_factor_0_keeps_every_bit_and_its_average_too(changes, options):
    optimizer = built(True, **changes, **options)
    kernel, bias = stepped(optimizer, 4, factors=(0, 1))
    assert kernel.tobytes() == KERNEL.tobytes()
    assert not np.isclose(bias, BIAS).any()
    assert (
        not options
        or keras.ops.convert_to_numpy(optimizer.averages[0]).tobytes() == KERNEL.tobytes()
    )


@pytest.mark.parametrize("changes", OPTIMIZERS)
def test_a_factor_is_a_share_of_the_step(changes):
    whole, part = (
        stepped(built(True, **changes), 1, factors)[0] - KERNEL for factors in ((1, 1), (0.25, 1))
    )
    np.testing.assert_allclose(part, 0.25 * whole, rtol=1e-5)


def test_averages_follow_their_recurrence():
    optimizer = built(optimizer="sgd", ema_momentum=0.75)
    values = [stepped(built(optimizer="sgd"), steps)[0] for steps in range(5)]
    stepped(optimizer, 4)
    average = values[0]
    for value in values[1:]:
        average = 0.75 * average + 0.25 * value
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(optimizer.averages[0]), average, rtol=1e-5
    )


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_averaged_weights_are_what_is_validated_and_kept_and_not_what_is_trained(checkpoint):
    """The weights that train are the same as without averages,
    so that the training losses are too."""
    data, validation = examples(24), examples(12, seed=1)
    found = {}
    for ema_momentum in (0.6, None):
        keras.utils.set_random_seed(1)
        head = build_head((1, 1, 6), units=8, dropout=0, normalize=False, n_classes=2)
        chosen = params(ema_momentum=ema_momentum, checkpoint=checkpoint)
        compile_classifier(head, chosen)
        found[ema_momentum] = (
            head,
            fit(head, lambda epoch: data.inputs, data.labels, validation, chosen).history,
        )
    head, history = found[0.6]
    assert history["loss"].tolist() == pytest.approx(found[None][1]["loss"].tolist(), rel=1e-5)
    assert validate(head, validation)["loss"] == (
        history["val_loss"].iloc[-1] if checkpoint == "last" else history["val_loss"].min()
    )
    assert history["val_loss"].iloc[-1] != pytest.approx(
        found[None][1]["val_loss"].iloc[-1], rel=1e-3
    )
    if checkpoint == "last":
        for weight, average in zip(head.get_weights(), averages_of(head), strict=True):
            assert np.array_equal(weight, keras.ops.convert_to_numpy(average))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"weight_decay": 0.1},
            "weight_decay = 0.1 is for adamw, not rmsprop; choose l2, or optimizer: adamw",
        ),
        ({"optimizer": "adamw"}, "'adamw' without weight_decay is adam"),
        ({"optimizer": "lion"}, "'rmsprop', 'adam', 'adamw' or 'sgd'"),
        ({"ema_momentum": 1}, "less than 1"),
        ({"ema_momentum": 0}, "greater than 0"),
        ({"l2": -1}, "greater than or equal to 0"),
    ],
)
def test_optimizers_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        params(**changes)
