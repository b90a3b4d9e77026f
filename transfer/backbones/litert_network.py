"""The frozen network on a CPU, run by LiteRT with XNNPACK: no TensorFlow, one image at a time, the
same bytes on every x86-64 with AVX2."""

import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from transfer.compute.litert import InterpreterPool

# Outputs of the converted network, by name. `maps`, for Grad-CAM, are those that `last_maps` finds.
OUTPUTS = ("cut", "features", "maps")
ROWS, EXPLANATION = ("cut", "features"), ("maps", "features")
# Images that a thread or a worker is given at a time: enough to keep the overhead per call small.
# No byte depends on it.
IMAGES_PER_CALL = 12


class LiteRTNetwork:
    """A call takes pixels (H, W, 3) in 0..255 of some images and gives activations at the cut and
    features, float32 (b, h, w, C).

    Several threads may call at once, and a row depends on its image only (`InterpreterPool`).
    """

    uses_all_cores = False
    batch_size = IMAGES_PER_CALL

    def __init__(self, content: bytes, identity: bytes):
        """
        Args:
            content: of the LiteRT file.
            identity: bytes that differ between networks.

        Raises:
            ValueError: these bytes are not a LiteRT file.
        """
        self._interpreters = InterpreterPool(content, ROWS)
        self.image_shape = self._interpreters.input_shape
        self.cut_shape, self.features_shape = (
            self._interpreters.output_shapes[name] for name in ROWS
        )
        self.identity = b"\0".join(
            [b"litert", version("ai-edge-litert").encode(), platform.machine().encode(), identity]
        )

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        cut, features = self._interpreters.run(images)
        return cut, features


def maps_and_features(
    content: bytes, images: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The last maps (N, h, w, C) and the features (N, h', w', C), float32, of some images
    (N, H, W, 3) in 0..255.

    Args:
        content: of the LiteRT file.
    """
    maps, features = InterpreterPool(content, EXPLANATION).run(images)
    return maps, features
