"""Assign each image to train, validation or test, and list the rejected files with reasons."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, field_validator, model_validator

from transfer.cluster.choose_engine import load_engine
from transfer.dataset.image_groups import count_alike_in_two_classes, group_images, match_group_by
from transfer.dataset.manifest import (
    FORMATS,
    SPLITS,
    UNUSED,
    class_names,
    manifest_file,
    write_manifest,
)
from transfer.dataset.notes_file import write_notes
from transfer.dataset.perceptual_hashes import write_hashes
from transfer.dataset.split_notes import (
    describe_clutter,
    describe_remarks,
    describe_rules,
)
from transfer.dataset.splitting import assign, quotas
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write, write_csv
from transfer.runtime.params import Params, load_param, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.sources.decoding import parse_colour
from transfer.sources.layout import Layout, find_layout
from transfer.sources.path_labels import (
    LabelColumns,
    PathLabel,
    PathLabels,
    compile_pattern,
    find_path_labels,
)
from transfer.sources.scan import ScannedFile, scan_source
from transfer.sources.value_ranges import KINDS, PixelRules, derive_range, write_pixel_rules

REJECTED = Path("data/split/rejected.csv")
DUPLICATES = Path("data/split/duplicates.csv")
MAX_CLASSES = 1000


class SplitParams(Params):
    source: str = Field(min_length=1)
    labels: str = Field(min_length=1)
    columns: LabelColumns
    label_pattern: str | None
    train: float = Field(gt=0)
    validation: float = Field(ge=0)
    test: float = Field(ge=0)
    group_by: str | None
    near_copies: bool
    near_copy_bits: int = Field(ge=0, le=16)
    min_images: NonNegativeInt
    merge_case: bool | None
    follow_links: bool
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
        return bool((self.sizes < 1).all()) or self.is_percentages

    @property
    def is_percentages(self) -> bool:
        """Whether the sizes add up to 100, as percentages do."""
        return abs(float(self.sizes.sum()) - 100) < 1e-6

    @field_validator(*SPLITS[1:])
    @classmethod
    def _is_not_nothing(cls, size: float) -> float:
        if size == 0:
            raise ValueError(
                "the models are chosen by the validation images and scored on the test images, so "
                "each needs some; give a small share, 0.1 say"
            )
        return size

    @field_validator("group_by")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @field_validator("label_pattern")
    @classmethod
    def _has_a_label(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compile_pattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _adds_up(self):
        asked = (
            f"train, validation, test = {self.train:.12g}, {self.validation:.12g}, {self.test:.12g}"
        )
        if self.is_percentages:
            return self
        if self.is_fractions and abs(self.sizes.sum() - 1) > 1e-6:
            raise ValueError(
                f"{asked} add up to {self.sizes.sum():.12g}; fractions must add up to 1, and "
                "percentages to 100"
            )
        if not self.is_fractions and (self.sizes % 1).any():
            raise ValueError(
                f"{asked}: give three fractions that add up to 1, three percentages that add up to "
                "100, or three whole numbers of images"
            )
        return self


def main() -> None:
    params = load_params(SplitParams, "split")
    passed_over: list[str] = []
    files, folders = scan_source(
        params.source,
        load_engine(load_params(ResourceParams, "resources"), "split"),
        background=parse_colour(load_param(str, "decode.background")),
        follow_links=params.follow_links,
        on_clutter=passed_over.append,
    )
    labels = read_path_labels(files, params)
    if labels is None:
        layout = find_layout([file.path for file in files] + passed_over + folders, params.source)
        unlabelled = [file.path for file in files if layout.is_unlabelled(file.path)]
        files = [place(file, layout) for file in files if not layout.is_unlabelled(file.path)]
    else:
        layout, folders, unlabelled = Layout(), [], []
        files = label_files(files, labels)
    images = sorted((file for file in files if not file.problem), key=lambda file: file.path)
    rejected = sorted((file for file in files if file.problem), key=lambda file: file.path)
    write_csv(REJECTED, ["path", "reason"], [(file.path, file.problem) for file in rejected])
    check_rejected(rejected, params.max_rejected)
    notes = [
        *describe_clutter(passed_over),
        *describe_unlabelled(unlabelled),
        *describe_unicode(images),
    ]
    check_classes(images, files, folders, layout, params.source)
    images, one_case = unite_cases(images, params.merge_case)
    images, rare = leave_out_rare(images, params.min_images)
    known = labels.labels if labels else {}
    is_split = layout.is_split if labels is None else labels.is_split
    manifest = divide(images, params, is_split=is_split, known=known)
    check_every_class_everywhere(manifest, images, params, is_split=is_split)
    rules = derive_rules(images, manifest)
    duplicates = list_duplicates(manifest)
    notes += [
        *one_case,
        *describe_group_by(images, params.group_by),
        *rare,
        *describe_remarks(images),
        *describe_rules(rules),
        *describe_ties(images, manifest),
        *describe_drawn(images, manifest, is_split=is_split),
    ]
    with atomic_write(DUPLICATES) as temporary:
        duplicates.to_csv(temporary, index=False, lineterminator="\n")
    write_hashes({image.path: image.perceptual for image in images})
    write_pixel_rules(rules)
    write_notes([*(labels.remarks if labels else []), *notes])
    write_manifest(manifest, manifest_file(params.manifest), params.order)
    for form in {*FORMATS} - {params.manifest}:  # of an earlier run by hand
        manifest_file(form).unlink(missing_ok=True)
    report(manifest, duplicates, rejected, params, notes)


def place(file: ScannedFile, layout: Layout) -> ScannedFile:
    """Add the class (and the split, if the source has splits) according to the file's folder."""
    found = layout.place(file.path)
    if found is None:
        return replace(file, problem=file.problem or "not in a class folder")
    return replace(file, split=found[0], class_name=found[1])


def read_path_labels(files: list[ScannedFile], params: SplitParams) -> PathLabels | None:
    """The labels by split.labels or split.label_pattern, printed; None where folders have them."""
    images = sorted(file.path for file in files if not file.problem)
    others = sorted(file.path for file in files if file.problem)
    labels = find_path_labels(
        images, others, params.source, params.labels, params.columns, params.label_pattern
    )
    for remark in labels.remarks if labels else []:
        print(f"split: {remark}")
    return labels


def label_files(files: list[ScannedFile], labels: PathLabels) -> list[ScannedFile]:
    """The files that have a label, each with its class and split, and a rejected one for each
    that the table names and the source lacks."""
    labelled = [
        replace(file, class_name=row.class_name, split=row.split)
        for file in files
        if (row := labels.labels.get(file.path)) is not None
    ]
    absent_files = [
        ScannedFile(path, problem="the table names it, and the source does not have it")
        for path in labels.missing
    ]
    return labelled + absent_files


def describe_unlabelled(paths: list[str]) -> list[str]:
    """A sentence on images whose labels are unknown."""
    if not paths:
        return []
    folders = sorted({path.rsplit("/", 1)[0] for path in paths})
    return [
        f"in folders without class folders, beside the classes: {_files(len(paths))}, left out "
        f"since nothing says their labels ({first_ten([repr(folder) for folder in folders])})"
    ]


def describe_unicode(images: list[ScannedFile]) -> list[str]:
    """A sentence on classes whose folders are named in two Unicode forms, which are one class."""
    forms = defaultdict(set)
    for image in images:
        forms[image.class_name] |= {
            part
            for part in image.path.split("/")[:-1]
            if unicodedata.normalize("NFC", part) == image.class_name
        }
    twice = sorted(name for name, found in forms.items() if len(found) > 1)
    return [
        f"folders whose names differ only in their Unicode form are one class: {first_ten(twice)}"
        for _ in twice[:1]
    ]


def unite_cases(
    images: list[ScannedFile], merge: bool | None
) -> tuple[list[ScannedFile], list[str]]:
    """Where classes differ only by case or by spaces at their ends, unite them under the first
    name, or leave them, as `split.merge_case` says; and a sentence on it.

    Raises:
        PipelineError: there are such classes, and it says neither.
    """
    names = defaultdict(list)
    for name in sorted({image.class_name for image in images}):
        names[name.strip().casefold()].append(name)
    alike = [found for found in names.values() if len(found) > 1]
    if not alike or merge is False:
        return images, []
    listed = first_ten([" and ".join(map(repr, found)) for found in alike])
    if merge is None:
        raise PipelineError(
            f"classes whose names differ only by case or spaces: {listed}; set "
            "split.merge_case to true if these are one class, to false if they are different ones"
        )
    united = {name: found[0] for found in alike for name in found}
    return [
        replace(image, class_name=united.get(image.class_name, image.class_name))
        for image in images
    ], [f"classes whose names differ only by case or spaces are one: {listed}"]


def leave_out_rare(images: list[ScannedFile], least: int) -> tuple[list[ScannedFile], list[str]]:
    """The images of classes that have at least `split.min_images`, and a sentence on the others.

    Raises:
        PipelineError: fewer than two classes remain.
    """
    counts = Counter(image.class_name for image in images)
    rare = sorted(name for name, count in counts.items() if count < least)
    if not rare:
        return images, []
    if len(counts) - len(rare) < 2:
        raise PipelineError(
            f"split.min_images = {least}: {len(counts) - len(rare)} of {len(counts)} classes have "
            "so many images, and two are needed; lower it"
        )
    listed = first_ten([f"{name!r} ({counts[name]})" for name in rare])
    kept = [image for image in images if counts[image.class_name] >= least]
    return kept, [f"classes of fewer than {least} images, left out (split.min_images): {listed}"]


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
            f"found {found}; put each class's images in a folder of its own, or have labels read "
            "from a table (split.labels) or from the path (split.label_pattern)"
        )


def divide(
    images: list[ScannedFile],
    params: SplitParams,
    *,
    is_split: bool,
    known: Mapping[str, PathLabel] = MappingProxyType({}),
) -> pd.DataFrame:
    """The manifest's rows: class, group and split of every image; a source that is already split
    keeps its splits.

    Args:
        known: the groups and weights of images by path, where a table or a pattern has them.
    """
    names = sorted({image.class_name for image in images})
    labels = np.array([names.index(image.class_name) for image in images])
    groups = group_images(
        images,
        near_copies=params.near_copies,
        near_copy_bits=params.near_copy_bits,
        group_keys=match_group_by(images, params.group_by),
        ties={path: row.group for path, row in known.items()},
    )
    if is_split:
        splits = draw_missing(images, labels, groups, names, params)
    else:
        check_enough_of_each(labels, names, SPLITS)
        quota = quotas(np.bincount(labels), count_sizes(params, len(images)), spare=len(SPLITS))
        numbers = assign(
            labels, groups, quota, np.random.default_rng(params.seed), spare=len(SPLITS)
        )
        splits = [(*SPLITS, UNUSED)[number] for number in numbers]
    manifest = pd.DataFrame(
        {
            "split": splits,
            "path": [image.path for image in images],
            "class_name": [image.class_name for image in images],
            "label": labels,
            "group": groups,
            "sha256": [image.sha256 for image in images],
        }
    )
    weights = [known[image.path].weight for image in images if image.path in known]
    return manifest if None in weights or not weights else manifest.assign(weight=weights)


def draw_missing(
    images: list[ScannedFile],
    labels: np.ndarray,
    groups: np.ndarray,
    names: list[str],
    params: SplitParams,
) -> list[str]:
    """The split of each image of a source that is split: its own; where the source has no
    validation or no test images, that split is drawn from train, in the proportion of the sizes.

    Raises:
        PipelineError: the source has no training images, or too few of a class to draw from.
    """
    splits = np.array([image.split for image in images], dtype=object)
    found = set(splits)
    if "train" not in found:
        raise PipelineError(
            f"the source's own splits are {', '.join(sorted(found))}: none is train; add it"
        )
    drawn = ["train", *(split for split in SPLITS if split not in found)]
    if len(drawn) == 1:
        return splits.tolist()
    rows = np.flatnonzero(splits == "train")
    check_enough_of_each(labels[rows], names, drawn)
    shares = params.sizes[[SPLITS.index(split) for split in drawn]]
    edges = np.round(np.cumsum(shares) / shares.sum() * len(rows)).astype(int)
    present, own_labels = np.unique(labels[rows], return_inverse=True)
    quota = quotas(np.bincount(own_labels, minlength=len(present)), np.diff(edges, prepend=0))
    own_groups = np.unique(groups[rows], return_inverse=True)[1]
    numbers = assign(own_labels, own_groups, quota, np.random.default_rng(params.seed))
    splits[rows] = np.array(drawn, dtype=object)[numbers]
    return splits.tolist()


def check_enough_of_each(labels: np.ndarray, names: list[str], splits: Sequence[str]) -> None:
    """Every class needs an image for each split that is drawn."""
    counts = np.bincount(labels)
    scarce = [
        f"{names[c]!r} ({count})" for c, count in enumerate(counts) if 0 < count < len(splits)
    ]
    if scarce:
        raise PipelineError(
            f"fewer images than splits in class {first_ten(scarce)}; {', '.join(splits[:-1])} and "
            f"{splits[-1]} need one each: add images, remove the class, or set split.min_images to "
            f"{len(splits)}, which leaves out classes with fewer"
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
    manifest: pd.DataFrame, images: list[ScannedFile], params: SplitParams, *, is_split: bool
) -> None:
    """Check that every class has images in every split. A source that is already split only needs
    training images of each class; `report` names what its other splits lack."""
    needed = ("train",) if is_split else SPLITS
    lacking = [(name, split) for name, split in absent(manifest) if split in needed]
    if not lacking:
        return
    if is_split:
        remedy = (
            "the source is already split: add images there, or give plain class folders to have "
            "them divided"
        )
    elif params.near_copies and (groups := too_alike(images, [name for name, _ in lacking])):
        remedy = (
            f"{groups}; near-copies stay on one side. If they are different pictures all the same, "
            "frames of a fixed camera say, set split.near_copies to false: then only identical "
            "files stay together"
        )
    else:
        remedy = (
            "images that belong together (duplicates, split.group_by) stay on one side, so a "
            "class needs at least three groups of its own: add images, ask for larger splits or "
            "let split.group_by tell more groups apart"
        )
    named = [f"{name!r} has none in {split}" for name, split in lacking]
    raise PipelineError(f"class {first_ten(named)}; {remedy}")


def too_alike(images: list[ScannedFile], names: list[str]) -> str:
    """Of the classes that cannot be divided, those with enough different files that only look too
    much alike, in words; empty where there is none."""
    words = []
    for name in dict.fromkeys(names):
        own = [image for image in images if image.class_name == name]
        looks = len({image.perceptual for image in own})
        if looks < len({image.sha256 for image in own}):
            words.append(f"the {len(own)} images of {name!r} have {looks} different looks")
    return ", ".join(words)


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


def derive_rules(images: list[ScannedFile], manifest: pd.DataFrame) -> PixelRules:
    """What the training images say of samples whose range no format fixes, and of the bands that
    TIFFs call alpha. A kind of sample that no training image has is judged by all images."""
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


def describe_group_by(images: list[ScannedFile], pattern: str | None) -> list[str]:
    """A sentence on the paths that `split.group_by` does not match."""
    missed = match_group_by(images, pattern).count(None)
    if pattern is None or not missed:
        return []
    return [
        f"split.group_by matches {len(images) - missed} of {len(images)} paths; the others are on "
        "their own"
    ]


def describe_ties(images: list[ScannedFile], manifest: pd.DataFrame) -> list[str]:
    """Sentences on what stays on one side, and on what looks alike in two classes and does not."""
    sizes = manifest["group"].value_counts()
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


def describe_drawn(
    images: list[ScannedFile], manifest: pd.DataFrame, *, is_split: bool
) -> list[str]:
    """A sentence on each split that the source does not have and that was drawn from its train."""
    if not is_split:
        return []
    counts, own = manifest["split"].value_counts(), {image.split for image in images}
    return [
        f"the source has no {split} images: {counts.get(split, 0)} were drawn from train, by "
        "split.seed and in the proportion of the sizes"
        for split in SPLITS
        if split not in own
    ]


def report(
    manifest: pd.DataFrame,
    duplicates: pd.DataFrame,
    rejected: list[ScannedFile],
    params: SplitParams,
    notes: list[str],
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
    for note in notes:
        print(f"split: {note}")
    if params.is_percentages:
        print("split: the sizes add up to 100 and are read as percentages")
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
