"""Which class each file of a source belongs to, and which classes are used."""

from collections import defaultdict
from itertools import compress

import numpy as np

from transfer.dataset.rejected import REJECTED
from transfer.dataset.split_notes import describe_unicode
from transfer.dataset.split_params import SplitParams
from transfer.labels.class_names import read_class_names
from transfer.labels.folder_words import spelling_key
from transfer.labels.layout import Layout
from transfer.labels.listing import first_few
from transfer.labels.mask_files import masks_by_name
from transfer.labels.path_label import PathLabels
from transfer.runtime.errors import PipelineError
from transfer.sources.scanned_file import ScannedFile, ScannedFiles

MAX_CLASSES = 1000


def place_files(files: ScannedFiles, layout: Layout) -> ScannedFiles:
    """Add the class (and the split, if the source has splits) according to each file's folder."""
    return files.placed(map(layout.place, files.paths), otherwise="not in a class folder")


def find_masks(files: ScannedFiles, layout: Layout) -> list[str]:
    """The paths of masks among the files: in folders of masks beside those of pictures, or called
    as the picture beside them."""
    images = [*compress(files.paths, ~files.has_problem)]
    return sorted({path for path in images if layout.is_mask(path)} | masks_by_name(images))


def label_files(files: ScannedFiles, labels: PathLabels) -> ScannedFiles:
    """The files that have a label, each with its class and split, and a rejected one for each
    that the table names and the source lacks."""
    found = labels.labels
    is_labelled = np.fromiter((path in found for path in files.paths), bool, len(files))
    listed = files.take(np.flatnonzero(is_labelled))
    for path in labels.missing:
        listed.append(
            ScannedFile(path, problem="the table names it, and the source does not have it")
        )
    rows = (found.get(path) for path in listed.paths)
    return listed.placed((row.split, row.class_name) if row else (None, "") for row in rows)


def choose_classes(images: ScannedFiles, params: SplitParams) -> tuple[ScannedFiles, list[str]]:
    """The images with the names of their classes, without classes of too few images, and sentences
    on what was done.

    Raises:
        PipelineError: `split.class_names` does not name the classes, `split.merge_case` does not
            say whether some are one, or fewer than two classes have `split.min_images`.
    """
    notes = describe_unicode(images)
    if params.class_names is not None:
        names = read_class_names(
            params.source,
            params.class_names,
            {*images.classes},
            follow_links=params.follow_links,
        )
        listed = first_few([f"{code!r} is {name!r}" for code, name in sorted(names.items())], 10)
        notes.append(f"classes named by {params.class_names}: {listed}")
        images = images.renamed(names)
    images, united = _unite_cases(images, params.merge_case)
    images, rare = _leave_out_rare(images, params.min_images)
    return images, [*notes, *united, *rare]


def _unite_cases(images: ScannedFiles, merge: bool | None) -> tuple[ScannedFiles, list[str]]:
    """Where classes differ only by case, or by the spaces, hyphens or underscores between their
    words, unite them under the first name, or leave them, as `split.merge_case` says; and a
    sentence on it.

    Raises:
        PipelineError: there are such classes, and it says neither.
    """
    names = defaultdict(list)
    for name in images.classes:
        names[spelling_key(name)].append(name)
    alike = [found for found in names.values() if len(found) > 1]
    if not alike or merge is False:
        return images, []
    listed = first_few([" and ".join(map(repr, found)) for found in alike], 10)
    if merge is None:
        raise PipelineError(
            f"classes whose names differ only by case, spaces or hyphens: {listed}; set "
            "split.merge_case to true if these are one class, to false if they are different ones"
        )
    united = {name: found[0] for found in alike for name in found}
    return images.renamed(united), [
        f"classes whose names differ only by case, spaces or hyphens are one: {listed}"
    ]


def _leave_out_rare(images: ScannedFiles, least: int) -> tuple[ScannedFiles, list[str]]:
    """The images of classes that have at least `split.min_images`, and a sentence on the others.

    Raises:
        PipelineError: fewer than two classes remain.
    """
    labels = images.labels
    counts = dict(zip(images.classes, np.bincount(labels).tolist(), strict=True))
    rare = sorted(name for name, count in counts.items() if count < least)
    if not rare:
        return images, []
    if len(counts) - len(rare) < 2:
        raise PipelineError(
            f"split.min_images = {least}: {len(counts) - len(rare)} of {len(counts)} classes have "
            "so many images, and two are needed; lower it"
        )
    listed = first_few([f"{name!r} ({counts[name]})" for name in rare], 10)
    kept = images.take(np.flatnonzero(np.bincount(labels)[labels] >= least))
    return kept, [f"classes of fewer than {least} images, left out (split.min_images): {listed}"]


def check_classes(
    images: ScannedFiles, rejected: ScannedFiles, class_folders: set[str], source: str
) -> None:
    """Two to MAX_CLASSES classes, none of them without a usable image."""
    used = {*images.classes}
    if empty := sorted(({*rejected.classes} - {""} | class_folders) - used):
        raise PipelineError(
            f"split.source = {source!r}: no usable image in class folder "
            f"{first_few(map(repr, empty), 10)}; add images or remove the folder (files that "
            f"cannot be used are in {REJECTED})"
        )
    if not 2 <= len(used) <= MAX_CLASSES:
        found = f"only {next(iter(used))!r}" if len(used) == 1 else f"{len(used):,}"
        raise PipelineError(
            f"split.source = {source!r} must hold 2 to {MAX_CLASSES:,} class folders with images, "
            f"found {found}; put each class's images in a folder of its own, or have labels read "
            "from a table (split.labels) or from the path (split.label_pattern)"
        )
