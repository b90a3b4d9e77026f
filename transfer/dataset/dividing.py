"""The manifest of a source: the class, group and split of each image."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from transfer.dataset.image_groups import group_images, match_group_by
from transfer.dataset.manifest import SPLITS, UNUSED
from transfer.dataset.split_params import SplitParams
from transfer.dataset.splitting import Draw, DrawByChance, DrawByChecksum, assign, quotas
from transfer.labels.listing import first_few
from transfer.labels.path_label import PathLabel
from transfer.runtime.errors import PipelineError
from transfer.sources.scanned_file import ScannedFiles

_COUNTS = {2: "two", 3: "three"}


def divide(
    images: ScannedFiles,
    params: SplitParams,
    *,
    is_split: bool,
    known: Mapping[str, PathLabel] = MappingProxyType({}),
) -> pd.DataFrame:
    """The manifest's rows in the order of the images, but for their checksums: class, group and
    split of every image; a source that is already split keeps its splits.

    Args:
        known: the groups and weights of images by path, where a table or a pattern has them.
    """
    names, labels = images.classes, images.labels
    groups = group_images(
        images,
        near_copies=params.near_copies,
        near_copy_bits=params.near_copy_bits,
        group_keys=match_group_by(images, params.group_by),
        ties=(row and row.group for row in map(known.get, images.paths)),
    )
    if is_split:
        splits = _draw_missing(images, labels, groups, names, params)
    else:
        _check_enough_of_each(labels, names, params.wanted)
        quota = quotas(np.bincount(labels), count_sizes(params, len(images)), spare=len(SPLITS))
        draw = _draw(images.sha256, groups, params)
        numbers = assign(labels, groups, quota, draw, spare=len(SPLITS))
        splits = [(*SPLITS, UNUSED)[number] for number in numbers]
    texts = {"split": splits, "path": images.paths, "class_name": [*images.class_names()]}
    # as objects these are the strings that are there already, and no copies
    columns = {name: pd.Series(values, dtype=object) for name, values in texts.items()}
    manifest = pd.DataFrame({**columns, "label": labels, "group": groups})
    weights = [known[path].weight for path in images.paths if path in known]
    return manifest if None in weights or not weights else manifest.assign(weight=weights)


def _draw_missing(
    images: ScannedFiles,
    labels: np.ndarray,
    groups: np.ndarray,
    names: list[str],
    params: SplitParams,
) -> list[str]:
    """The split of each image of a source that is already split. If the source has no validation or
    no test images, that split is drawn from train, in the proportion of the sizes; no test images
    are drawn if `split.test` is 0.

    Raises:
        PipelineError: the source has no training images, too few of a class to draw from, or too
            few groups.
    """
    splits = np.array([*images.splits()], dtype=object)
    found = set(splits)
    if "train" not in found:
        raise PipelineError(
            f"the source's own splits are {', '.join(sorted(found))}: none is train; add it"
        )
    drawn = ["train", *(split for split in params.wanted if split not in found)]
    if len(drawn) == 1:
        return splits.tolist()
    rows = np.flatnonzero(splits == "train")
    _check_enough_of_each(labels[rows], names, drawn)
    shares = params.sizes[[SPLITS.index(split) for split in drawn]]
    edges = np.round(np.cumsum(shares) / shares.sum() * len(rows)).astype(int)
    present, own_labels = np.unique(labels[rows], return_inverse=True)
    quota = quotas(np.bincount(own_labels, minlength=len(present)), np.diff(edges, prepend=0))
    own_groups = np.unique(groups[rows], return_inverse=True)[1]
    draw = _draw(images.sha256[rows], own_groups, params)
    numbers = assign(own_labels, own_groups, quota, draw)
    splits[rows] = np.array(drawn, dtype=object)[numbers]
    if empty := [split for split in drawn if split not in splits]:
        raise PipelineError(
            f"no image could be drawn for {empty[0]}: images that belong together (duplicates, "
            f"split.group_by) stay on one side, and train has {len(np.unique(own_groups))} groups; "
            "add images, or let split.group_by tell more groups apart"
        )
    return splits.tolist()


def _draw(checksums: np.ndarray, groups: np.ndarray, params: SplitParams) -> Draw:
    if params.draw_by == "checksum":
        return DrawByChecksum(checksums, groups, params.seed)
    return DrawByChance(params.seed)


def _check_enough_of_each(labels: np.ndarray, names: list[str], splits: Sequence[str]) -> None:
    """Every class needs an image for each split that is drawn."""
    counts = np.bincount(labels)
    scarce = [
        f"{names[c]!r} ({count})" for c, count in enumerate(counts) if 0 < count < len(splits)
    ]
    if scarce:
        raise PipelineError(
            f"fewer images than splits in class {first_few(scarce, 10)}; {', '.join(splits[:-1])} "
            f"and {splits[-1]} need one each: add images, remove the class, or set "
            f"split.min_images to {len(splits)}, which leaves out classes with fewer"
        )


def count_sizes(params: SplitParams, n: int) -> np.ndarray:
    """Images in train, validation, test and unused: int (4,), sum n."""
    if params.is_fractions:
        edges = np.round(np.cumsum(params.sizes) / params.sizes.sum() * n).astype(int)
        return np.append(np.diff(edges, prepend=0), 0)
    if params.sizes.sum() > n:
        asked = " + ".join(f"{size:.0f}" for size in params.sizes)
        raise PipelineError(
            f"split.train + validation + test = {asked} = {params.sizes.sum():.0f}, but only {n} "
            "usable images were found; lower them, or give fractions such as 0.6, 0.2, 0.2"
        )
    counts = params.sizes.astype(int)
    return np.append(counts, n - counts.sum())


def check_every_class_everywhere(
    manifest: pd.DataFrame, images: ScannedFiles, params: SplitParams, *, is_split: bool
) -> None:
    """Check that every class has images in every split. A source that is already split only needs
    training images of each class; `report` names what its other splits lack."""
    needed = ("train",) if is_split else params.wanted
    lacking = absent(manifest, needed)
    if not lacking:
        return
    if is_split:
        remedy = (
            "the source is already split: add images there, or give plain class folders to have "
            "them divided"
        )
    elif params.near_copies and (groups := _too_alike(images, [name for name, _ in lacking])):
        remedy = (
            f"{groups}; near-copies stay on one side. If they are different pictures all the same, "
            "frames of a fixed camera say, set split.near_copies to false: then only identical "
            "files stay together"
        )
    else:
        remedy = (
            "images that belong together (duplicates, split.group_by) stay on one side, so a "
            f"class needs at least {_COUNTS[len(needed)]} groups of its own: add images, ask for "
            "larger splits or let split.group_by tell more groups apart"
        )
    named = [f"{name!r} has none in {split}" for name, split in lacking]
    raise PipelineError(f"class {first_few(named, 10)}; {remedy}")


def _too_alike(images: ScannedFiles, names: list[str]) -> str:
    """Of the classes that cannot be divided, those with enough different files that only look too
    much alike, in words; empty where there is none."""
    words, classes, labels = [], images.classes, images.labels
    for name in dict.fromkeys(names):
        own = np.flatnonzero(labels == classes.index(name))
        looks = len(np.unique(images.perceptual[own]))
        if looks < len(np.unique(images.sha256[own], axis=0)):
            words.append(f"the {len(own)} images of {name!r} have {looks} different looks")
    return ", ".join(words)


def absent(manifest: pd.DataFrame, splits: Sequence[str]) -> list[tuple[str, str]]:
    """Classes and those of the splits in which they have no image."""
    table = pd.crosstab(manifest["class_name"], manifest["split"]).reindex(
        columns=splits, fill_value=0
    )
    return [(name, split) for name in table.index for split in splits if not table.loc[name, split]]
