"""Which images belong together, and so to one split: copies, near-copies, the user's groups."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from transfer.dataset.splitting import connected_groups
from transfer.runtime.errors import PipelineError
from transfer.sources.scanned_file import ScannedFile


def group_images(
    images: Sequence[ScannedFile],
    *,
    near_copies: bool,
    near_copy_bits: int,
    group_keys: Sequence[str | None],
    ties: Mapping[str, str | None],
) -> np.ndarray:
    """Number the groups of images that belong together, int (N,), from 0 by first appearance.

    Identical files always belong together, whatever their classes. Near-copies belong together only
    within a class: in two classes they may be an object with and without a defect.

    Args:
        near_copies: whether images whose perceptual hashes are alike belong together.
        near_copy_bits: how many of the 64 bits of these hashes may differ.
        group_keys: of each image by `split.group_by`. ties: by path, from a table or a pattern.
    """
    looks = look_keys(images, near_copy_bits) if near_copies else ([] for _ in images)
    return connected_groups(
        [("sha256", image.sha256), *alike]
        + ([] if key is None else [("group_by", key)])
        + ([] if ties.get(image.path) is None else [("labels", ties[image.path])])
        for image, alike, key in zip(images, looks, group_keys, strict=True)
    )


def look_keys(images: Sequence[ScannedFile], bits: int) -> Iterator[list[tuple[str, str, str]]]:
    """For each image, keys that it shares with the images of its class whose perceptual hashes
    differ in at most `bits` bits."""
    if bits == 0:
        return ([("look", image.class_name, image.perceptual)] for image in images)
    hashes = defaultdict(set)
    for image in images:
        hashes[image.class_name].add(image.perceptual)
    alike = {name: _alike(sorted(own), bits) for name, own in hashes.items()}
    return (
        [("look", image.class_name, other) for other in alike[image.class_name][image.perceptual]]
        for image in images
    )


def _alike(hashes: list[str], bits: int) -> dict[str, list[str]]:
    """For each of several different hashes: itself, and those behind it that are alike."""
    numbers = np.array([int(digits, 16) for digits in hashes], np.uint64)
    return {
        digits: [hashes[row + place] for place in np.flatnonzero(_near(numbers[row:], bits))]
        for row, digits in enumerate(hashes)
    }


def _near(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Which of the hashes differ from the first one in at most `bits` bits."""
    return np.bitwise_count(numbers ^ numbers[0]) <= bits


def match_group_by(images: Sequence[ScannedFile], pattern: str | None) -> list[str | None]:
    """What `split.group_by` matches in each path: its first group, or the whole match; None if that
    is missing or empty.

    Raises:
        PipelineError: it matches nowhere.
    """
    if pattern is None:
        return [None] * len(images)
    expression = re.compile(pattern)
    matches = [expression.search(image.path) for image in images]
    keys = [(match[1 if expression.groups else 0] or None) if match else None for match in matches]
    if not any(keys):
        raise PipelineError(
            f"split.group_by = {pattern!r} matches nothing in any path, the first being "
            f"{images[0].path!r}; fix the expression"
        )
    return keys


def count_alike_in_two_classes(images: Sequence[ScannedFile]) -> int:
    """Images with the same perceptual hash as a different file in another class."""
    files = defaultdict(set)
    for image in images:
        files[image.perceptual].add((image.class_name, image.sha256))
    return sum(
        any(name != image.class_name and sha256 != image.sha256 for name, sha256 in found)
        for image in images
        if len(found := files[image.perceptual]) > 1
    )
