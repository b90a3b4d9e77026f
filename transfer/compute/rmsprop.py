"""RMSprop for TensorFlow on CPUs: the bytes of Keras's own with fewer passes over memory."""

from transfer.compute.device import has_accelerator
from transfer.compute.keras import keras


def choose_rmsprop() -> type[keras.optimizers.RMSprop]:
    """`FusedRMSprop` for TensorFlow on a CPU, Keras's own class otherwise.

    On a GPU a fused kernel may round differently from separate operations.
    """
    fuses = keras.config.backend() == "tensorflow" and not has_accelerator()
    return FusedRMSprop if fuses else keras.optimizers.RMSprop


class FusedRMSprop(keras.optimizers.RMSprop):
    """RMSprop without momentum, not centered, for variables of float32.

    With millions of weights an update is bound by memory. Keras computes
    v <- rho v + (1 - rho) g^2 and w <- w - rate g / sqrt(v + epsilon) in nine operations, each over
    whole arrays. Two fused kernels of TensorFlow that were made for other optimizers do the same
    products and sums in the same order. TensorFlow's own kernel for RMSprop rounds differently: it
    computes v + (1 - rho) (g^2 - v).
    """

    def __init__(self, learning_rate: float):
        super().__init__(learning_rate)
        self._denominators = []

    def build(self, variables):
        if self.built:
            return
        import tensorflow as tf

        super().build(variables)
        # Plain variables of TensorFlow, which are in no checkpoint: each step overwrites them.
        self._denominators = [
            tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        import tensorflow as tf

        gradient = tf.cast(gradient, tf.float32)
        index = self._get_variable_index(variable)
        weights = variable if isinstance(variable, tf.Variable) else variable.value
        denominator = self._denominators[index]
        denominator.assign(tf.fill(denominator.shape, tf.constant(self.epsilon, tf.float32)))
        # v <- rho v - (-(1 - rho)) g^2, then denominator <- epsilon + v
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=denominator.handle,
            accum=self._velocities[index].value.handle,
            lr=-(1 - self.rho),
            grad=tf.square(gradient),
            momentum=self.rho,
        )
        # w <- w - rate g / (sqrt(denominator) + 0)
        tf.raw_ops.ResourceApplyAdagradV2(
            var=weights.handle,
            accum=denominator.handle,
            lr=tf.cast(learning_rate, tf.float32),
            epsilon=0.0,
            grad=gradient,
            update_slots=False,
        )
