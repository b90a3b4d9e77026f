"""Keras optimizers extended with per-variable learning rates, L2 penalties and exact weight
averages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from transfer.compute.keras import keras
from transfer.compute.rmsprop import choose_rmsprop
from transfer.runtime.params import Params


class OptimizerParams(Params):
    """The optimizer and its options; docs/training.md explains each key."""

    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    l2: NonNegativeFloat
    ema_momentum: float | None = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _weight_decay_is_adamws(self) -> Self:
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay = {self.weight_decay:g} is for adamw, not {self.optimizer}; choose "
                "l2, or optimizer: adamw"
            )
        if self.optimizer == "adamw" and not self.weight_decay:
            raise ValueError(
                "optimizer = 'adamw' without weight_decay is adam; set weight_decay (Keras has "
                "0.004), or choose adam"
            )
        return self


class _ByVariable:
    """Mixed in before one of Keras's optimizers. It relies on one call of `update_step` per
    variable and step, which all backends make.

    - `factors`, float32 (variables,): the share of the learning rate that each variable has. A
      variable with the share 0 keeps every bit, while the optimizer's moments follow its gradients,
      so that it starts without a jump when it is unfrozen.
    - `l2`: adds l2 times the sum of squared kernels to what is minimised, through its gradient;
      reported losses do not include it.
    - `weight_decay`: each step subtracts rate times weight_decay times the kernel (Loshchilov and
      Hutter 2019, arXiv:1711.05101).
    - `ema_momentum`: `averages` of the variables, a <- a + (1 - ema)(w - a) in each step, from the
      values before the first. Keras's own (`use_ema`) computes ema a + (1 - ema) w, which changes
      the last bits of a frozen variable, and starts after the first step.
    """

    def __init__(
        self, *arguments, l2: float, weight_decay: float, ema_momentum: float | None, **settings
    ):
        super().__init__(*arguments, **settings)
        self._l2, self._decay, self._ema = l2, weight_decay, ema_momentum
        self.averages = []

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._kernels = [variable.path.endswith("kernel") for variable in variables]
        self.factors = self.add_variable((len(variables),), initializer="ones", name="factors")
        if self._ema is not None:
            self.averages = self.add_optimizer_variables(variables, "average")
            for average, variable in zip(self.averages, variables, strict=True):
                # JAX must not find one buffer in two variables
                average.assign(keras.ops.copy(variable))

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        rate = learning_rate * self.factors[index]
        if self._l2 and self._kernels[index]:
            gradient = keras.ops.add(gradient, keras.ops.multiply(2 * self._l2, variable))
        if self._decay and self._kernels[index]:
            self.assign_sub(variable, keras.ops.multiply(variable, self._decay * rate))
        super().update_step(gradient, variable, rate)
        if self._ema is not None:
            average = self.averages[index]
            self.assign_add(
                average, keras.ops.multiply(1 - self._ema, keras.ops.subtract(variable, average))
            )


def build_optimizer(params: OptimizerParams, by_layer: bool) -> keras.optimizers.Optimizer:
    """Keras's own optimizer, extended only if the parameters need more than it has.

    Args:
        by_layer: whether each variable has a learning rate of its own, set in `factors`.
    """
    kind, settings = _keras_optimizer(params.optimizer)
    if not (by_layer or params.l2 or params.weight_decay or params.ema_momentum):
        return kind(params.learning_rate, **settings)
    extended = type(kind.__name__, (_ByVariable, kind), {})
    return extended(
        params.learning_rate,
        l2=params.l2,
        weight_decay=params.weight_decay,
        ema_momentum=params.ema_momentum,
        **settings,
    )


def _keras_optimizer(name: str) -> tuple[type[keras.optimizers.Optimizer], dict]:
    """The class of an optimizer and its settings besides the learning rate."""
    if name == "rmsprop":
        return choose_rmsprop(), {}
    if name == "sgd":
        return keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}
    # Keras's AdamW takes one rate for all variables: it would shrink layers that are still frozen.
    return keras.optimizers.Adam, {}


def unwrap_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer that `build_optimizer` made; for models in float16 Keras wraps it in one that
    scales the loss."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def use_averages(model: keras.Model) -> None:
    """Set a compiled model's weights to the optimizer's averages, if it keeps any."""
    for variable, average in zip(model.trainable_variables, averages_of(model), strict=False):
        variable.assign(keras.ops.copy(average))


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """As `use_averages`, within the block only."""
    own = (
        [keras.ops.copy(variable) for variable in model.trainable_variables]
        if averages_of(model)
        else []
    )
    use_averages(model)
    yield
    for variable, value in zip(model.trainable_variables, own, strict=False):
        variable.assign(value)


def averages_of(model: keras.Model) -> list:
    """The running average of each trainable variable of the model; empty without `ema_momentum`."""
    return getattr(unwrap_optimizer(model), "averages", [])
