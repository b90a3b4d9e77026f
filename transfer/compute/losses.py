"""The loss of two classes, whose value is the same with every C library."""

from transfer.compute.keras import keras

# JAX has no float64 by default; it computes logarithms itself, not with the C library.
_WIDE = "float32" if keras.config.backend() == "jax" else "float64"


def binary_crossentropy(targets, logits):
    """Keras's BinaryCrossentropy from logits, float32 (B, 1) -> float32 (B,).

    Keras's own contains a log1p, whose gradient in TensorFlow takes a reciprocal by an instruction
    that processors approximate differently. The gradient of softplus is a sigmoid, without it.

    The last rows of a batch that is no multiple of eight get their log1p from the C library, whose
    versions round it differently in float32. The value is therefore computed in float64 and then
    rounded; the gradient is that of the float32 loss, which has no log1p.
    """
    loss = _from_softplus(targets, logits)
    wide = _from_softplus(keras.ops.cast(targets, _WIDE), keras.ops.cast(logits, _WIDE))
    rounded = keras.ops.cast(wide, loss.dtype)
    # exact, because the two losses differ in their last bits only
    return loss + keras.ops.stop_gradient(rounded - loss)


def _from_softplus(targets, logits):
    softplus = keras.ops.softplus
    return keras.ops.mean(targets * softplus(-logits) + (1 - targets) * softplus(logits), axis=-1)
