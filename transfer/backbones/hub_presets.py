"""Names of KerasHub's presets in `backbone.name`, and what is known of them before they are
fetched; needs no Keras."""

import re
from dataclasses import dataclass

from transfer.backbones.licenses import License
from transfer.runtime.errors import PipelineError

PREFIX = "keras_hub:"
LAST_BLOCK = "last_block"  # the layer with which the last transformer block begins


@dataclass(frozen=True)
class Family:
    """Presets whose names begin alike.

    patch: side in pixels of the squares that an image is divided into; None: in the preset's name.
    default: image side in pixels; None: in the preset's name, and no other is possible.
    """

    patch: int | None
    default: int | None
    license: License


_META = "Meta AI; converted by the Keras team."
_SIGLIP_PAPERS = {
    "siglip_": "X. Zhai and others, Sigmoid Loss for Language Image Pre-Training, arXiv:2303.15343",
    "siglip2_": "M. Tschannen and others, SigLIP 2, arXiv:2502.14786",
}
FAMILIES = {
    "dinov2_": Family(
        14,
        224,
        License(
            "Apache-2.0",
            f"{_META} M. Oquab and others, DINOv2: Learning Robust Visual Features without "
            "Supervision, arXiv:2304.07193",
        ),
    ),
    "dinov3_": Family(
        16,
        224,
        License(
            "DINOv3 License, Meta's own with conditions on use and on passing on",
            f"{_META} O. Siméoni and others, DINOv3, arXiv:2508.10104",
        ),
    ),
    **{
        begins: Family(
            None,
            None,
            License("Apache-2.0", f"Google Research; converted by the Keras team. {paper}"),
        )
        for begins, paper in _SIGLIP_PAPERS.items()
    },
}


def is_hub_preset(name: str) -> bool:
    """Whether `backbone.name` is a preset of KerasHub: its name, a handle or a local folder."""
    return name.startswith(PREFIX)


def preset_of(name: str) -> str:
    """The preset as KerasHub takes it, from `backbone.name`."""
    return name.removeprefix(PREFIX)


def find_family(name: str) -> Family | None:
    """The family of a preset that KerasHub itself lists; None for handles and folders, whose
    content their names do not tell."""
    preset = preset_of(name)
    if "/" in preset:
        return None
    return next((known for begins, known in FAMILIES.items() if preset.startswith(begins)), None)


def hub_side(name: str, image_size: int | None) -> int:
    """Side in pixels of the images for a preset: the user's value, or the default where the name
    tells it.

    Raises:
        PipelineError: the name does not tell it, or the value does not suit the preset.
    """
    family = find_family(name)
    sizes = re.search(r"_patch(\d+)_(\d+)", preset_of(name))
    if family is None or (family.default is None and sizes is None):
        if image_size is None:
            raise PipelineError(
                f"backbone.image_size = null: give the number of pixels per side of the images for "
                f"{name}, which its name does not tell"
            )
        return image_size
    if family.default is None:
        check_position_size(name, image_size, only := int(sizes[2]))
        return only
    if image_size is None:
        return family.default
    check_patches(name, image_size, family.patch)
    return image_size


def check_position_size(name: str, image_size: int | None, only: int) -> None:
    """Check the size for a network with one position embedding per patch of one image size.

    Raises:
        PipelineError: it is another size; null is any.
    """
    if image_size not in (None, only):
        raise PipelineError(
            f"backbone.image_size = {image_size}: {name} takes only images of {only} pixels per "
            f"side, because its position embeddings are of that size; set it to {only}"
        )


def check_patches(name: str, image_size: int, patch: int) -> None:
    """Check that patches fill an image.

    Raises:
        PipelineError: the size is no multiple of the patch, or is smaller than two patches.
    """
    if image_size % patch or image_size < 2 * patch:
        below = max(image_size // patch, 2) * patch
        raise PipelineError(
            f"backbone.image_size = {image_size}: {name} divides images into patches of {patch} "
            f"pixels, so the size must be a multiple of {patch}, at least {2 * patch}; choose "
            f"{below} or {below + patch}"
        )
