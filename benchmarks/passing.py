"""All images through a frozen network as the stages send them: in batches, on a CPU spread over its cores."""

from collections.abc import Iterator

import numpy as np

from transfer.frozen_pass import FrozenNetwork
from transfer.parallel import map_in_order


def pass_all(network: FrozenNetwork, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Activations at the cut and features of each batch, in order, of images (N, H, W, 3)."""
    batches = (images[start : start + network.batch_size] for start in range(0, len(images), network.batch_size))
    return (map if network.uses_all_cores else map_in_order)(network, batches)
