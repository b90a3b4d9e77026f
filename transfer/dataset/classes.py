"""Which class each file of a source belongs to, and which classes are used."""

from collections import Counter, defaultdict
from dataclasses import replace
from sys import intern

from transfer.dataset.listing import first_ten
from transfer.dataset.rejected import REJECTED
from transfer.labels.class_names import read_class_names
from transfer.labels.folder_words import spelling_key
from transfer.labels.layout import Layout
from transfer.labels.mask_files import masks_by_name
from transfer.labels.path_label import PathLabels
from transfer.runtime.errors import PipelineError
from transfer.sources.scanned_file import ScannedFile

MAX_CLASSES = 1000


def place(file: ScannedFile, layout: Layout) -> ScannedFile:
    """Add the class (and the split, if the source has splits) according to the file's folder."""
    found = layout.place(file.path)
    if found is None:
        return replace(file, problem=file.problem or "not in a class folder")
    # one string for all images of a class
    return replace(file, split=found[0], class_name=intern(found[1]))


def find_masks(files: list[ScannedFile], layout: Layout) -> list[str]:
    """The paths of masks among the files: in folders of masks beside those of pictures, or called
    as the picture beside them."""
    images = [file.path for file in files if not file.problem]
    return sorted({path for path in images if layout.is_mask(path)} | masks_by_name(images))


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


def name_classes(
    images: list[ScannedFile], source: str, path: str | None
) -> tuple[list[ScannedFile], list[str]]:
    """The images with the names of their classes by the file `split.class_names`, and a sentence on
    it; as they are where that is None.

    Raises:
        PipelineError: as `read_class_names`.
    """
    if path is None:
        return images, []
    names = read_class_names(source, path, {image.class_name for image in images})
    listed = first_ten([f"{code!r} is {name!r}" for code, name in sorted(names.items())])
    return [replace(image, class_name=names[image.class_name]) for image in images], [
        f"classes named by {path}: {listed}"
    ]


def unite_cases(
    images: list[ScannedFile], merge: bool | None
) -> tuple[list[ScannedFile], list[str]]:
    """Where classes differ only by case, or by the spaces, hyphens or underscores between their
    words, unite them under the first name, or leave them, as `split.merge_case` says; and a
    sentence on it.

    Raises:
        PipelineError: there are such classes, and it says neither.
    """
    names = defaultdict(list)
    for name in sorted({image.class_name for image in images}):
        names[spelling_key(name)].append(name)
    alike = [found for found in names.values() if len(found) > 1]
    if not alike or merge is False:
        return images, []
    listed = first_ten([" and ".join(map(repr, found)) for found in alike])
    if merge is None:
        raise PipelineError(
            f"classes whose names differ only by case, spaces or hyphens: {listed}; set "
            "split.merge_case to true if these are one class, to false if they are different ones"
        )
    united = {name: found[0] for found in alike for name in found}
    return [
        replace(image, class_name=united.get(image.class_name, image.class_name))
        for image in images
    ], [f"classes whose names differ only by case, spaces or hyphens are one: {listed}"]


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
