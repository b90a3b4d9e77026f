"""Which images belong together, and so to one split: copies, near-copies, the user's groups."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable

import numpy as np

from transfer.dataset.splitting import connected_groups, shared
from transfer.runtime.errors import PipelineError
from transfer.sources.scanned_file import ScannedFiles


def group_images(
    images: ScannedFiles,
    *,
    near_copies: bool,
    near_copy_bits: int,
    group_keys: Iterable[str | None],
    ties: Iterable[str | None],
) -> np.ndarray:
    """Number the groups of images that belong together, int (N,), from 0 by first appearance.

    Identical files always belong together, whatever their classes. Near-copies belong together only
    within a class: in two classes they may be an object with and without a defect.

    Args:
        near_copies: whether images whose perceptual hashes are alike belong together.
        near_copy_bits: how many of the 64 bits of these hashes may differ.
        group_keys: of each image by `split.group_by`. ties: from a table or a pattern.
    """
    found = [shared(*images.sha256.view(np.uint64).T), _numbered(group_keys), _numbered(ties)]
    if near_copies:
        found.append(look_keys(images, near_copy_bits))
    return connected_groups(len(images), found)


def _numbered(keys: Iterable[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """The items that have a key, and the keys as numbers."""
    numbers: dict[Hashable, int] = {}
    found = [
        (item, numbers.setdefault(key, len(numbers)))
        for item, key in enumerate(keys)
        if key is not None
    ]
    items, own = np.array(found, np.int64).reshape(-1, 2).T
    return items, own


def look_keys(images: ScannedFiles, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """A tie for `connected_groups` of the images of one class whose perceptual hashes differ in at
    most `bits` bits."""
    labels, hashes = images.labels, images.perceptual
    if bits == 0:
        return shared(hashes, labels)
    keys, n_keys = np.empty(len(images), np.int64), 0
    for label in range(len(images.classes)):
        own = np.flatnonzero(labels == label)
        looks, numbers = np.unique(hashes[own], return_inverse=True)
        keys[own] = n_keys + _number_chains(looks, bits)[numbers]
        n_keys += len(looks)
    return np.arange(len(images)), keys


def _number_chains(looks: np.ndarray, bits: int) -> np.ndarray:
    """Number the hashes that lead to one another by steps of at most `bits` bits: int (L,), each
    below L."""
    numbers = np.full(len(looks), -1)
    for start in range(len(looks)):
        waiting = [start] if numbers[start] < 0 else []
        while waiting:
            distances = np.bitwise_count(looks ^ looks[waiting.pop()])
            near = np.flatnonzero((distances <= bits) & (numbers < 0))
            numbers[near] = start
            waiting += near.tolist()
    return numbers


def match_group_by(images: ScannedFiles, pattern: str | None) -> list[str | None]:
    """What `split.group_by` matches in each path: its first group, or the whole match; None if that
    is missing or empty.

    Raises:
        PipelineError: it matches nowhere.
    """
    if pattern is None:
        return [None] * len(images)
    expression = re.compile(pattern)
    number = 1 if expression.groups else 0
    matches = map(expression.search, images.paths)
    keys = [(match[number] or None) if match else None for match in matches]
    if not any(keys):
        raise PipelineError(
            f"split.group_by = {pattern!r} matches nothing in any path, the first being "
            f"{images.paths[0]!r}; fix the expression"
        )
    return keys


def count_alike_in_two_classes(images: ScannedFiles) -> int:
    """Images with the same perceptual hash as a different file in another class."""
    rows, looks = shared(images.perceptual)
    labels, contents = images.labels[rows].tolist(), map(bytes, images.sha256[rows])
    alike = list(zip(looks.tolist(), labels, contents, strict=True))
    different = {*alike}  # the files of each look and class, each once
    of_look = Counter(look for look, _, _ in different)
    of_class = Counter((look, label) for look, label, _ in different)
    of_content = Counter((look, content) for look, _, content in different)
    return sum(
        # less those of its class, and those of its content; itself is both
        of_look[look] - of_class[look, label] - of_content[look, content] + 1 > 0
        for look, label, content in alike
    )
