"""The dense layers at the end of a trained network, read without Keras, and the gradients of their
logits, computed with NumPy."""

import json
import math
from dataclasses import dataclass

import numpy as np

from transfer.classifiers.baselines import damaged, read_arrays
from transfer.classifiers.description import read_description

SMALLEST_SQUARE = 1e-24  # features that are all 0 stay 0
SCALE_LAYER = "unit_mean_square"  # a head has it if it scales features


@dataclass(frozen=True)
class DenseHead:
    """Flattened features -> hidden layer (ReLU) -> logits, as `build_head` and
    `build_small_network` build it.

    Attributes:
        is_scaled: whether each image's features are scaled to a root mean square of 1 first.
        hidden_kernel, hidden_bias: float32 (D, U) and (U,).
        logits_kernel: float32 (U, L).
    """

    is_scaled: bool
    hidden_kernel: np.ndarray
    hidden_bias: np.ndarray
    logits_kernel: np.ndarray

    @property
    def n_logits(self) -> int:
        """L."""
        return self.logits_kernel.shape[1]

    def gradients(self, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Gradients of the sum of weights (M, L) times logits with regard to the features (M, ...):
        float64, in their shape."""
        rows = features.reshape(len(features), len(self.hidden_kernel)).astype(np.float64)
        scales = np.ones((len(rows), 1))
        if self.is_scaled:
            squares = np.square(rows).sum(axis=1, keepdims=True)
            scales = math.sqrt(rows.shape[1]) / np.sqrt(np.maximum(squares, SMALLEST_SQUARE))
        hidden = rows * scales @ self.hidden_kernel + self.hidden_bias
        of_hidden = (weights.astype(np.float64) @ self.logits_kernel.T) * (hidden > 0)
        of_scaled = of_hidden @ self.hidden_kernel.astype(np.float64).T
        gradients = of_scaled * scales
        if self.is_scaled:
            # scaled features do not change along the features themselves, unless these are all 0
            along = (of_scaled * rows).sum(axis=1, keepdims=True)
            gradients -= (
                np.where(
                    squares > SMALLEST_SQUARE,
                    scales * along / np.maximum(squares, SMALLEST_SQUARE),
                    0,
                )
                * rows
            )
        return gradients.reshape(features.shape)


def load_dense_head(name: str) -> DenseHead:
    """Read the dense layers of the network `name`.

    Raises:
        PipelineError: the model is missing, skipped or damaged, or ends with other layers.
    """
    described = read_description(name)
    try:
        layers = json.loads(described.content)["model"]["config"]["layers"]
        place = "layers"
        if layers[-1]["class_name"] == "Functional":  # behind a backbone the head is one layer
            nested = [layer for layer in layers if layer["class_name"] == "Functional"]
            place = f"layers/{_numbered('functional', len(nested) - 1)}/layers"
            layers = layers[-1]["config"]["layers"]
        dense = [layer["name"] for layer in layers if layer["class_name"] == "Dense"]
        if dense[-2:] != ["hidden", "logits"]:
            raise ValueError(f"the last dense layers are {dense[-2:]}")
        paths = [
            f"{place}/{_numbered('dense', number)}/vars/{variable}"
            for number, variable in ((len(dense) - 2, 0), (len(dense) - 2, 1), (len(dense) - 1, 0))
        ]
        arrays = read_arrays(described.weights, paths)
    except Exception as error:  # h5py raises many exception types on bad values
        raise damaged(name, error) from None
    return DenseHead(SCALE_LAYER in [layer["name"] for layer in layers], *arrays)


def _numbered(name: str, number: int) -> str:
    """What Keras calls the weights of a model's layer of that number among those of its class."""
    return f"{name}_{number}" if number else name
