"""Assign each image to train, validation or test, and list the rejected files with reasons."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, field_validator, model_validator

from transfer.cluster.choose_engine import load_engine
from transfer.dataset.manifest import (
    FORMATS,
    SPLITS,
    UNUSED,
    class_names,
    manifest_file,
    write_manifest,
)
from transfer.dataset.perceptual_hashes import write_hashes
from transfer.dataset.splitting import assign, connected_groups, quotas
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write, write_csv
from transfer.runtime.params import Params, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.sources.layout import Layout, find_layout
from transfer.sources.scan import ScannedFile, scan_source

REJECTED = Path("data/split/rejected.csv")
DUPLICATES = Path("data/split/duplicates.csv")
MAX_CLASSES = 1000


class SplitParams(Params):
    source: str = Field(min_length=1)
    train: float = Field(gt=0)
    validation: float = Field(gt=0)
    test: float = Field(gt=0)
    group_by: str | None
    max_rejected: NonNegativeInt
    seed: NonNegativeInt
    order: Literal["path", "checksum"]
    manifest: Literal[*FORMATS]

    @property
    def sizes(self) -> np.ndarray:
        """Asked for train, validation, test: fractions or counts, (3,)."""
        return np.array([self.train, self.validation, self.test])

    @property
    def is_fractions(self) -> bool:
        return bool((self.sizes < 1).all())

    @field_validator("group_by")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _adds_up(self):
        asked = (
            f"train, validation, test = {self.train:.12g}, {self.validation:.12g}, {self.test:.12g}"
        )
        if self.is_fractions and abs(self.sizes.sum() - 1) > 1e-6:
            raise ValueError(
                f"{asked} add up to {self.sizes.sum():.12g}; fractions must add up to 1"
            )
        if not self.is_fractions and (self.sizes % 1).any():
            raise ValueError(
                f"{asked}: give three fractions that add up to 1, or three whole numbers of images"
            )
        return self


def main() -> None:
    params = load_params(SplitParams, "split")
    engine = load_engine(load_params(ResourceParams, "resources"), "split")
    files, folders = scan_source(params.source, engine)
    layout = find_layout([file.path for file in files] + folders, params.source)
    files = [place(file, layout) for file in files]
    images = sorted((file for file in files if not file.problem), key=lambda file: file.path)
    rejected = sorted((file for file in files if file.problem), key=lambda file: file.path)
    write_csv(REJECTED, ["path", "reason"], [(file.path, file.problem) for file in rejected])
    check_rejected(rejected, params.max_rejected)
    check_classes(images, files, folders, layout, params.source)
    manifest = divide(images, params, is_split=layout.is_split)
    check_every_class_everywhere(manifest, is_split=layout.is_split)
    duplicates = list_duplicates(manifest)
    with atomic_write(DUPLICATES) as temporary:
        duplicates.to_csv(temporary, index=False, lineterminator="\n")
    write_hashes({image.path: image.perceptual for image in images})
    write_manifest(manifest, manifest_file(params.manifest), params.order)
    for form in {*FORMATS} - {params.manifest}:  # of an earlier run by hand
        manifest_file(form).unlink(missing_ok=True)
    report(manifest, duplicates, rejected, params)


def place(file: ScannedFile, layout: Layout) -> ScannedFile:
    """Add the class (and the split, if the source has splits) according to the file's folder."""
    found = layout.place(file.path)
    if found is None:
        return replace(file, problem=file.problem or "not in a class folder")
    return replace(file, split=found[0], class_name=found[1])


def check_rejected(rejected: list[ScannedFile], most: int) -> None:
    """Stop if more files are rejected than `max_rejected` allows."""
    if len(rejected) > most:
        raise PipelineError(
            f"{_files(len(rejected))} cannot be used, more than split.max_rejected = {most} (all "
            f"of them are in {REJECTED}):\n"
            f"{list_rejected(rejected)}\nRepair or remove them, or raise split.max_rejected."
        )


def list_rejected(rejected: list[ScannedFile]) -> str:
    """The first ten rejected files with their reasons, one line per file."""
    return first_ten([f"  {file.path}: {file.problem}" for file in rejected], "\n")


def first_ten(items: list[str], separator: str = ", ") -> str:
    return separator.join(items[:10]) + (
        f"{separator}... and {len(items) - 10} more" if len(items) > 10 else ""
    )


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n} files"


def check_classes(
    images: list[ScannedFile],
    files: list[ScannedFile],
    folders: list[str],
    layout: Layout,
    source: str,
) -> None:
    """Two to MAX_CLASSES classes, none of them without a usable image."""
    used = {image.class_name for image in images}
    places = [layout.place(folder) for folder in folders]
    named = {file.class_name for file in files if file.class_name} | {
        place[1] for place in places if place
    }
    if empty := sorted(named - used):
        raise PipelineError(
            f"split.source = {source!r}: no usable image in class folder "
            f"{first_ten([repr(name) for name in empty])}; add images or remove the folder (files "
            f"that cannot be used are in {REJECTED})"
        )
    if not 2 <= len(used) <= MAX_CLASSES:
        found = f"only {next(iter(used))!r}" if len(used) == 1 else f"{len(used):,}"
        raise PipelineError(
            f"split.source = {source!r} must hold 2 to {MAX_CLASSES:,} class folders with images, "
            f"found {found}; put each class's images in a folder of its own"
        )


def divide(images: list[ScannedFile], params: SplitParams, *, is_split: bool) -> pd.DataFrame:
    """The manifest's rows: class, group and split of every image; a source that is already split
    keeps its splits."""
    names = sorted({image.class_name for image in images})
    labels = np.array([names.index(image.class_name) for image in images])
    groups = connected_groups(
        [
            tie_keys(image, key)
            for image, key in zip(images, group_keys(images, params.group_by), strict=True)
        ]
    )
    if is_split:
        splits = [image.split for image in images]
    else:
        check_three_of_each(labels, names)
        quota = quotas(np.bincount(labels), count_sizes(params, len(images)), spare=len(SPLITS))
        numbers = assign(
            labels, groups, quota, np.random.default_rng(params.seed), spare=len(SPLITS)
        )
        splits = [(*SPLITS, UNUSED)[number] for number in numbers]
    return pd.DataFrame(
        {
            "split": splits,
            "path": [image.path for image in images],
            "class_name": [image.class_name for image in images],
            "label": labels,
            "group": groups,
            "sha256": [image.sha256 for image in images],
        }
    )


def tie_keys(image: ScannedFile, group_key: str | None) -> list[tuple[str, str]]:
    """The keys that tie an image to others: its perceptual hash (equal for equal bytes) and the
    user's group."""
    looks = ("perceptual", image.perceptual)
    return [looks] if group_key is None else [looks, ("group_by", group_key)]


def group_keys(images: list[ScannedFile], pattern: str | None) -> list[str | None]:
    """What `split.group_by` matches in each path: its first group, or the whole match; None if that
    is missing or empty."""
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
    if missed := keys.count(None):
        print(
            f"split: split.group_by matches {len(images) - missed} of {len(images)} paths; the "
            "others are on their own"
        )
    return keys


def check_three_of_each(labels: np.ndarray, names: list[str]) -> None:
    scarce = [
        f"{names[c]!r} ({count})"
        for c, count in enumerate(np.bincount(labels))
        if count < len(SPLITS)
    ]
    if scarce:
        raise PipelineError(
            f"fewer images than splits in class {first_ten(scarce)}; "
            "train, validation and test need one each: add images or remove the class"
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


def check_every_class_everywhere(manifest: pd.DataFrame, *, is_split: bool) -> None:
    """Check that every class has images in every split. A source that is already split only needs
    training images of each class; `report` names what its other splits lack."""
    needed = ("train",) if is_split else SPLITS
    lacking = [
        f"{name!r} has none in {split}" for name, split in absent(manifest) if split in needed
    ]
    if lacking:
        remedy = (
            "the source is already split: add images there, or give plain class folders to have "
            "them divided"
            if is_split
            else "images that belong together (duplicates, split.group_by) stay on one side, so a "
            "class needs at least three groups of its own: add images, ask for larger splits or "
            "let split.group_by tell more groups apart"
        )
        raise PipelineError(f"class {first_ten(lacking)}; {remedy}")


def absent(manifest: pd.DataFrame) -> list[tuple[str, str]]:
    """Classes and the splits in which they have no image."""
    table = pd.crosstab(manifest["class_name"], manifest["split"]).reindex(
        columns=SPLITS, fill_value=0
    )
    return [(name, split) for name in table.index for split in SPLITS if not table.loc[name, split]]


def list_duplicates(manifest: pd.DataFrame) -> pd.DataFrame:
    """List the images that share a group with others, and the identical files that lie in two
    classes."""
    tied = manifest[manifest.groupby("group")["path"].transform("size") > 1]
    in_classes = manifest.groupby("sha256")["class_name"].transform("nunique")
    tied = tied.assign(same_file_in_two_classes=in_classes[tied.index] > 1)
    return tied.sort_values(["group", "path"])[
        ["group", "split", "path", "class_name", "same_file_in_two_classes"]
    ]


def report(
    manifest: pd.DataFrame,
    duplicates: pd.DataFrame,
    rejected: list[ScannedFile],
    params: SplitParams,
) -> None:
    """Print a short summary, and above all what the user should look at."""
    counts = manifest["split"].value_counts()
    columns = [name for name in (*SPLITS, UNUSED) if counts.get(name)]
    table = pd.crosstab(manifest["class_name"], manifest["split"])[columns].assign(
        all=lambda table: table.sum(axis=1)
    )
    print(pd.concat([table, table.sum().to_frame("all classes").T]).to_string())
    print(
        f"split: {len(class_names(manifest))} classes, {len(manifest)} images, "
        f"{_files(len(rejected))} rejected ({REJECTED})"
    )
    if rejected:
        print(list_rejected(rejected))
    print(
        f"split: images that belong together: {len(duplicates)}, in groups: "
        f"{duplicates['group'].nunique()} ({DUPLICATES})"
    )
    if (
        not params.is_fractions
        and (got := [counts[s] for s in SPLITS]) != params.sizes.astype(int).tolist()
    ):
        print(
            f"split: asked for {', '.join(f'{size:.0f}' for size in params.sizes)}, got "
            f"{', '.join(map(str, got))}: groups are never cut, every class is in every split, "
            "and a source that is already split stays so"
        )
    if counts.get(UNUSED):
        print(
            "split: images in no split, since the counts ask for fewer than there are: "
            f"{counts[UNUSED]}"
        )
    if twice := int(duplicates["same_file_in_two_classes"].sum()):
        paths = duplicates.loc[duplicates["same_file_in_two_classes"], "path"]
        print(
            f"split: WARNING: {twice} images are the same file in two classes, one label is wrong: "
            f"{', '.join(paths[:6])}"
        )
    if lacking := [f"{name!r} has no image in {split}" for name, split in absent(manifest)]:
        print(
            f"split: WARNING: the source's own splits lack classes: {first_ten(lacking)}; scores "
            "that need them will say so"
        )
    leaks = duplicates.groupby("group")["split"].nunique()
    if leaking := int((leaks > 1).sum()):
        print(
            "split: WARNING: groups of duplicates that lie across the source's own splits: "
            f"{leaking}; test scores are flattered"
        )


if __name__ == "__main__":
    run_stage(main)
