"""Sentences on what `split` did to the data: passed over, scaled, laid over a background, tied."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from transfer.dataset.duplicates import DUPLICATES
from transfer.dataset.image_groups import count_alike_in_two_classes, match_group_by
from transfer.dataset.manifest import SPLITS
from transfer.dataset.scored_split import TEST, remarks_without_test, scored_split
from transfer.dataset.split_params import SplitParams
from transfer.decoding.value_ranges import KINDS, PixelRules
from transfer.labels.listing import count_of, first_few
from transfer.sources.scanned_file import ScannedFiles
from transfer.sources.source_file import is_known_clutter, is_sidecar, is_unknown_hidden


def describe_clutter(paths: Iterable[str]) -> list[str]:
    """Sentences on what was passed over: clutter, text beside images, and hidden files, named."""
    clutter, text, other, hidden = Counter(), Counter(), Counter(), []
    for path in paths:
        name = PurePosixPath(path).name
        if path == ".":
            continue
        if is_known_clutter(name):
            clutter["._*" if name.startswith("._") else name] += 1
        elif is_unknown_hidden(path):
            hidden.append(path)
        elif is_sidecar(name):
            text[PurePosixPath(name.lower()).suffix or name] += 1
        else:
            other[PurePosixPath(name.lower()).suffix] += 1
    sentences = []
    if clutter:
        sentences.append(f"left by systems and programs, and passed over: {_counted(clutter)}")
    if text:
        sentences.append(f"text and tables beside the images, passed over: {_counted(text)}")
    if other:
        sentences.append(
            f"no images, called as an image beside them, and passed over: {_counted(other)}"
        )
    if hidden:
        named = [*map(repr, sorted(set(hidden)))]
        sentences.append(
            f"hidden files or folders (their names begin with a dot), passed over: {len(hidden)}, "
            f"{first_few(named, 6)}; rename a class that is called so"
        )
    return sentences


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counter.items()))


def describe_remarks(images: ScannedFiles) -> list[str]:
    """Sentences on how images were decoded, with the number of each."""
    counts = Counter(remark for found in images.findings() for remark in found.remarks)
    return [f"{remark}: {count_of(count, 'image')}" for remark, count in sorted(counts.items())]


def describe_rules(rules: PixelRules) -> list[str]:
    """Sentences on the ranges that were derived from the training images."""
    names = {"unsigned": "unsigned", "signed": "signed", "float": "floating-point"}
    return [
        f"{names[kind]} samples whose range no format fixes: {low:g} is black and {high:g} is "
        "white in every image, by the training images"
        for kind in KINDS
        if kind in rules.ranges
        for low, high in [rules.ranges[kind]]
    ]


def describe_unlabelled(paths: list[str]) -> list[str]:
    """A sentence on images whose labels are unknown."""
    if not paths:
        return []
    folders = sorted({path.rsplit("/", 1)[0] for path in paths})
    return [
        f"in folders without class folders, beside the classes: {count_of(len(paths), 'file')}, "
        f"left out since nothing says their labels ({first_few(map(repr, folders), 10)})"
    ]


def describe_masks(paths: list[str]) -> list[str]:
    """A sentence on masks beside the pictures of the classes."""
    if not paths:
        return []
    return [
        f"masks beside the pictures, by their names or those of their folders, left out: "
        f"{count_of(len(paths), 'file')}, such as {paths[0]!r}"
    ]


def describe_unicode(images: ScannedFiles) -> list[str]:
    """A sentence on classes whose folders are named in two Unicode forms, which are one class."""
    forms = defaultdict(set)
    for path, class_name in zip(images.paths, images.class_names(), strict=True):
        forms[class_name] |= {
            part
            for part in path.split("/")[:-1]
            if unicodedata.normalize("NFC", part) == class_name
        }
    twice = sorted(name for name, found in forms.items() if len(found) > 1)
    if not twice:
        return []
    listed = first_few(twice, 10)
    return [f"folders whose names differ only in their Unicode form are one class: {listed}"]


def describe_group_by(images: ScannedFiles, pattern: str | None) -> list[str]:
    """A sentence on the paths that `split.group_by` does not match."""
    missed = match_group_by(images, pattern).count(None)
    if pattern is None or not missed:
        return []
    return [
        f"split.group_by matches {len(images) - missed} of {len(images)} paths; the others are on "
        "their own"
    ]


def describe_ties(images: ScannedFiles, manifest: pd.DataFrame) -> list[str]:
    """Sentences on what stays on one side, and on what looks alike in two classes and does not."""
    sizes = np.bincount(manifest["group"])
    sentences = []
    if tied := int(sizes[sizes > 1].sum()):
        sentences.append(
            f"images that belong together and stay on one side: {tied}, in groups: "
            f"{int((sizes > 1).sum())} ({DUPLICATES})"
        )
    if alike := count_alike_in_two_classes(images):
        sentences.append(
            f"images that look like one in another class, which ties them to nothing: {alike}"
        )
    return sentences


def describe_drawn(images: ScannedFiles, manifest: pd.DataFrame, *, is_split: bool) -> list[str]:
    """A sentence on each split that the source does not have and that was drawn from its train."""
    if not is_split:
        return []
    counts, own = manifest["split"].value_counts(), {*images.splits()}
    return [
        f"the source has no {split} images: {counts[split]} were drawn from train, by "
        "split.seed and in the proportion of the sizes"
        for split in SPLITS
        if split not in own and split in counts
    ]


def describe_scored(manifest: pd.DataFrame, params: SplitParams) -> list[str]:
    """A sentence on what a `split.test` of 0 came to; none for another size."""
    if TEST in params.wanted:
        return []
    return remarks_without_test(has_test=scored_split(manifest) == TEST)
