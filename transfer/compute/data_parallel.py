"""Data-parallel training: each GPU of a machine has all weights and a part of the batch."""

from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError


def enable_data_parallel(gpus: int) -> None:
    """Make Keras divide each batch over so many devices; call it before a model is built.

    The gradients are those of the whole batch, apart from the order in which they are added.

    Raises:
        PipelineError: the backend is not JAX, the only one for which Keras supports this, or it has
            fewer devices.
    """
    backend = keras.config.backend()
    if backend != "jax":
        raise PipelineError(
            f"compute.gpus = {gpus}: Keras divides training steps with JAX only, this is "
            f"{backend}; set 1, or KERAS_BACKEND=jax"
        )
    devices = keras.distribution.list_devices()
    if len(devices) < gpus:
        raise PipelineError(
            f"compute.gpus = {gpus}: jax sees {len(devices)} ({', '.join(devices)}); set no more "
            "than that"
        )
    keras.distribution.set_distribution(_Divided(devices=devices[:gpus]))


class _Divided(keras.distribution.DataParallel):
    """Gives a batch that does not divide evenly, such as the last one of an epoch, whole to every
    device."""

    def get_data_layout(self, data_shape):
        if data_shape[0] % self.device_mesh.shape[0] == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
