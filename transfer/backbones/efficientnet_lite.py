"""EfficientNet-Lite 0, 1 and 2, which keras.applications does not have: the layers, and which
tensor of the published file belongs to which.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
arXiv:1905.11946. The Lite networks have ReLU6 in place of swish and no squeeze-and-excitation.
"""

import math
from dataclasses import dataclass

import numpy as np

from transfer.compute.keras import keras

CLASSES = 1000
STEM_FILTERS, TOP_FILTERS = 32, 1280

# kernel side, repeats, filters, expansion, stride of each group of blocks
_GROUPS = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)

# width and depth of each network, as multiples of the above
SCALES = {
    "EfficientNetLite0": (1.0, 1.0),
    "EfficientNetLite1": (1.0, 1.1),
    "EfficientNetLite2": (1.1, 1.2),
}


class TensorsError(Exception):
    """Why tensors do not fit a network, naming the first that does not."""


@dataclass(frozen=True)
class _Block:
    """An inverted residual block: expand 1x1 (unless `expansion` is 1), depthwise, project 1x1."""

    name: str
    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels_out: int

    @property
    def width(self) -> int:
        """Channels between expansion and projection."""
        return self.channels_in * self.expansion

    @property
    def has_skip(self) -> bool:
        return self.stride == 1 and self.channels_in == self.channels_out


def _blocks(name: str) -> list[_Block]:
    width, depth = SCALES[name]
    blocks, channels_in = [], STEM_FILTERS
    for number, (kernel, repeats, filters, expansion, stride) in enumerate(_GROUPS, start=1):
        is_scaled = 1 < number < len(_GROUPS)  # the first and the last group keep their repeats
        channels_out = _scaled_filters(filters, width)
        for place in range(math.ceil(repeats * depth) if is_scaled else repeats):
            blocks.append(
                _Block(
                    f"block{number}{chr(ord('a') + place)}",
                    kernel,
                    stride if place == 0 else 1,
                    expansion,
                    channels_in,
                    channels_out,
                )
            )
            channels_in = channels_out
    return blocks


def _scaled_filters(filters: int, width: float) -> int:
    """Rounded to a multiple of 8, but not below 90 % of what it would be."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def build_efficientnet_lite(
    name: str,
    pixels: keras.KerasTensor,
    *,
    include_top: bool = False,
    includes_scaling: bool = True,
) -> keras.Model:
    """The network with random weights, RGB (B, side, side, 3) -> features (B, h, w, 1280), or with
    its top -> probabilities (B, 1000).

    Args:
        name: of SCALES.
        includes_scaling: whether the network takes pixels in 0..255 and computes (x - 127) / 128
            itself; otherwise it takes them unchanged.
    """
    x = pixels
    if includes_scaling:
        x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(x)
    x = _convolution(x, STEM_FILTERS, "stem_conv", kernel=3, stride=2)
    x = _normalized(x, "stem_bn", "stem_activation")
    for block in _blocks(name):
        x = _apply_block(x, block)
    x = _convolution(x, TOP_FILTERS, "top_conv")
    x = _normalized(x, "top_bn", "top_activation")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = keras.layers.Dense(CLASSES, activation="softmax", name="predictions")(x)
    return keras.Model(pixels, x, name=name)


def _apply_block(inputs: keras.KerasTensor, block: _Block) -> keras.KerasTensor:
    x = inputs
    if block.expansion != 1:
        x = _convolution(x, block.width, f"{block.name}_expand_conv")
        x = _normalized(x, f"{block.name}_expand_bn", f"{block.name}_expand_activation")
    x = keras.layers.DepthwiseConv2D(
        block.kernel,
        strides=block.stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{block.name}_dwconv",
    )(x)
    x = _normalized(x, f"{block.name}_bn", f"{block.name}_activation")
    x = _convolution(x, block.channels_out, f"{block.name}_project_conv")
    x = _normalized(x, f"{block.name}_project_bn")
    return keras.layers.Add(name=f"{block.name}_add")([x, inputs]) if block.has_skip else x


def _convolution(
    x: keras.KerasTensor, filters: int, name: str, kernel: int = 1, stride: int = 1
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_initializer(),
        name=name,
    )(x)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def _normalized(
    x: keras.KerasTensor, name: str, activation: str | None = None
) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=name)(x)
    return x if activation is None else keras.layers.ReLU(6.0, name=activation)(x)


def _names_in_file(name: str) -> dict[str, str]:
    """Layer -> the beginning of its tensors' names in the published file."""
    names = {"stem_conv": "_conv_stem", "stem_bn": "_bn0"}
    for number, block in enumerate(_blocks(name)):
        in_file = f"_blocks.{number}"
        if block.expansion != 1:
            names[f"{block.name}_expand_conv"] = f"{in_file}._expand_conv"
            names[f"{block.name}_expand_bn"] = f"{in_file}._bn0"
        names[f"{block.name}_dwconv"] = f"{in_file}._depthwise_conv"
        names[f"{block.name}_bn"] = f"{in_file}._bn1"
        names[f"{block.name}_project_conv"] = f"{in_file}._project_conv"
        names[f"{block.name}_project_bn"] = f"{in_file}._bn2"
    return names | {"top_conv": "_conv_head", "top_bn": "_bn1", "predictions": "_fc"}


def tensor_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The tensors of the network's published file, top included, by their names there, with their
    shapes in PyTorch's order: (out, in, h, w) of a convolution, (out, in) of the dense layer."""
    convolutions = {"_conv_stem": (STEM_FILTERS, 3, 3, 3)}
    normalizations = {"_bn0": STEM_FILTERS, "_bn1": TOP_FILTERS}
    blocks = _blocks(name)
    for number, block in enumerate(blocks):
        in_file, width = f"_blocks.{number}", block.width
        if block.expansion != 1:
            convolutions[f"{in_file}._expand_conv"] = (width, block.channels_in, 1, 1)
            normalizations[f"{in_file}._bn0"] = width
        convolutions[f"{in_file}._depthwise_conv"] = (width, 1, block.kernel, block.kernel)
        convolutions[f"{in_file}._project_conv"] = (block.channels_out, width, 1, 1)
        normalizations |= {f"{in_file}._bn1": width, f"{in_file}._bn2": block.channels_out}
    convolutions["_conv_head"] = (TOP_FILTERS, blocks[-1].channels_out, 1, 1)
    return {
        **{f"{layer}.weight": shape for layer, shape in convolutions.items()},
        **{
            f"{layer}.{part}": (channels,)
            for layer, channels in normalizations.items()
            for part in ("weight", "bias", "running_mean", "running_var")
        },
        "_fc.weight": (CLASSES, TOP_FILTERS),
        "_fc.bias": (CLASSES,),
    }


def load_tensors(network: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Set the weights of a network, with its top or without, from the tensors of a published file.

    Nothing is set unless all tensors fit.

    Args:
        network: from `build_efficientnet_lite`.
        tensors: by their names in the file, from `torch_file.read_tensors`.

    Raises:
        TensorsError: a tensor is missing, has another shape or type, or has no place in the
            network; names the first, and the network whose tensors these are.
    """
    _check_tensors(network.name, tensors)
    for layer, in_file in _names_in_file(network.name).items():
        if layer == "predictions" and layer not in [each.name for each in network.layers]:
            continue
        network.get_layer(layer).set_weights(_in_keras_order(layer, in_file, tensors))


def _in_keras_order(layer: str, in_file: str, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    if layer.endswith("_bn"):
        parts = ("weight", "bias", "running_mean", "running_var")
        return [tensors[f"{in_file}.{part}"] for part in parts]
    kernel = tensors[f"{in_file}.weight"]
    if layer == "predictions":
        return [kernel.T, tensors[f"{in_file}.bias"]]
    # (out, in, h, w) -> (h, w, in, out); depthwise (channels, 1, h, w) -> (h, w, channels, 1)
    return [kernel.transpose((2, 3, 0, 1) if layer.endswith("_dwconv") else (2, 3, 1, 0))]


def _check_tensors(name: str, tensors: dict[str, np.ndarray]) -> None:
    found = {
        tensor: value.shape
        for tensor, value in tensors.items()
        if not tensor.endswith(".num_batches_tracked")
    }
    expected = tensor_shapes(name)
    if (problem := _first_difference(name, found, expected)) is not None:
        others = [other for other in SCALES if tensor_shapes(other) == found]
        remedy = f"; these are the tensors of {others[0]}" if others else ""
        raise TensorsError(f"{problem}{remedy}")
    for tensor in expected:
        if tensors[tensor].dtype != np.float32:
            raise TensorsError(f"{tensor} has numbers of type {tensors[tensor].dtype}, not float32")


def _first_difference(
    name: str, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> str | None:
    for tensor, shape in expected.items():
        if tensor not in found:
            return f"{tensor} is missing"
        if found[tensor] != shape:
            return f"{tensor} has shape {found[tensor]}, but {name} needs {shape}"
    surplus = [tensor for tensor in found if tensor not in expected]
    return f"{surplus[0]} has no place in {name}" if surplus else None
