"""What the training images say of samples whose range no format fixes."""

import pandas as pd

from transfer.sources.scan import ScannedFile
from transfer.sources.value_ranges import KINDS, PixelRules, derive_range


def derive_rules(images: list[ScannedFile], manifest: pd.DataFrame) -> PixelRules:
    """What the training images say of samples whose range no format fixes, and of the bands that
    TIFFs call alpha. For a kind of sample that no training image has, all images are used."""
    splits = dict(zip(manifest["path"], manifest["split"], strict=True))
    train = [image for image in images if splits[image.path] == "train"]
    ranges = {}
    for kind in KINDS:
        found = [
            [
                each.value_range
                for each in some
                if each.value_range and each.value_range.kind == kind
            ]
            for some in (train, images)
        ]
        if found[1]:
            ranges[kind] = derive_range(found[0] or found[1])
    alpha = [image.tiff_alpha for image in train if image.tiff_alpha is not None]
    return PixelRules(ranges, tiff_alpha=2 * sum(alpha) >= len(alpha))
