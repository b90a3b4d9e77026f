"""What `backbone.name: keras_hub:...` means before the preset is fetched."""

import pytest

from tests.backbones.builders import error_of
from tests.helpers.backbones import backbone_params
from transfer.backbones.hub_presets import LAST_BLOCK
from transfer.backbones.registry import describe_weights_license, image_side


@pytest.mark.parametrize(
    ("preset", "side"),
    [
        ("dinov2_small", 224),
        ("dinov2_with_registers_base", 224),
        ("dinov3_vit_small_lvd1689m", 224),
        ("siglip_base_patch16_256", 256),
        ("siglip2_so400m_patch14_384", 384),
        ("siglip_so400m_patch16_256_i18n", 256),
    ],
)
def test_the_name_of_a_preset_tells_the_size_and_the_cut_is_in_front_of_the_last_block(
    preset, side
):
    params = backbone_params(f"keras_hub:{preset}")
    assert (params.image_size, params.unfreeze_from) == (side, LAST_BLOCK)


@pytest.mark.parametrize(
    "preset", ["path/to/preset", "kaggle://me/mine/keras/x", "hf://me/mine", "medsiglip_900m_448"]
)
def test_another_preset_needs_a_size_and_takes_any(preset):
    name = f"keras_hub:{preset}"
    assert f"give the number of pixels per side of the images for {name}" in error_of(
        lambda: image_side(name, None)
    )
    assert image_side(name, 100) == 100


@pytest.mark.parametrize(
    ("preset", "size", "words"),
    [
        ("dinov2_small", 100, "patches of 14 pixels, so the size must be a multiple of 14"),
        ("dinov2_small", 100, "choose 98 or 112"),
        ("dinov3_vit_base_lvd1689m", 16, "at least 32; choose 32 or 48"),
        ("siglip_base_patch16_224", 256, "takes only images of 224 pixels per side"),
    ],
)
def test_a_size_that_does_not_suit_the_preset_is_refused(preset, size, words):
    message = error_of(lambda: image_side(f"keras_hub:{preset}", size))
    assert f"backbone.image_size = {size}" in message and words in message


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("dinov2_small", "under the licence Apache-2.0. They are by: Meta AI"),
        ("dinov3_vit_small_lvd1689m", "under the licence DINOv3 License, Meta's own"),
        ("siglip2_base_patch16_224", "under the licence Apache-2.0. They are by: Google"),
        ("path/to/dinov2_small", "are from keras_hub:path/to/dinov2_small; the pipeline does not"),
    ],
)
def test_the_licence_is_known_of_presets_that_keras_hub_lists(preset, words):
    assert words in describe_weights_license(f"keras_hub:{preset}", "imagenet", None)
