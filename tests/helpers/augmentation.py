"""The ranges of augmentation that the tests share."""

from transfer.augmentation.warp import AugmentParams


def augment_params(*, views: int, seed: int = 0) -> AugmentParams:
    """The section `augment` with the ranges of the default parameters."""
    return AugmentParams(
        views=views,
        rotation=40,
        width_shift=0.2,
        height_shift=0.2,
        shear=11.5,
        zoom=0.2,
        horizontal_flip=True,
        seed=seed,
    )
