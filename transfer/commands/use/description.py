"""What `use` prints of a source: what it is, what `split` will do with it, what will stop it."""

import typing
from collections import Counter, defaultdict

from transfer.commands.use.labelling import Labelled
from transfer.commands.use.params_file import Value
from transfer.commands.use.survey import Survey, first_five
from transfer.dataset.scored_split import TEST, remarks_without_test
from transfer.labels.folder_words import SPLITS, spelling_key
from transfer.labels.listing import count_of, first_few

if typing.TYPE_CHECKING:  # pandas takes its time, which --help should not
    from transfer.dataset.split_params import SplitParams

_SHOWN_CLASSES, _SHOWN_FILES = 20, 5


def describe(
    found: Survey, labelled: Labelled, values: dict[str, Value], current: "SplitParams"
) -> list[tuple[str, str]]:
    """What the source is and what `split` will do with it: titles, empty for a further line, and
    texts."""
    size = f", {in_bytes(found.bytes)}" if found.bytes else ""
    classes = [f"{name} {count:,}" for name, count in sorted(labelled.classes.items())]
    rows = [
        ("source", f"{values['source']}: {len(found.images):,} images{size}"),
        ("formats", ", ".join(f"{form} {n:,}" for form, n in found.formats.most_common())),
        ("labels", labelled.layout),
        *(("", f"{split} will be drawn from train") for split in drawn_splits(labelled, values)),
        *(("", remark) for remark in labelled.remarks),
        ("classes", f"{len(classes):,}: {first_few(classes, _SHOWN_CLASSES)}"),
        *(("", remark) for remark in doubtful_classes(labelled, values, current)),
    ]
    if found.beside:
        count = (
            "1 file that is" if len(found.beside) == 1 else f"{len(found.beside):,} files that are"
        )
        rows.append(("beside", f"{count} no image, such as {found.beside[0]}"))
    others = [file for file in found.files if file.problem]
    if others:
        rest = len(others) - _SHOWN_FILES
        rows.append(("unusable", count_of(len(others), "file")))
        rows += [("", f"{file.path}: {file.problem}") for file in others[:_SHOWN_FILES]]
        rows += [("", f"... and {rest:,} more")] if rest > 0 else []
    if labelled.rejected > current.max_rejected:
        rows.append(
            (
                "rejected",
                f"{labelled.rejected:,} or more, and split.max_rejected is "
                f"{current.max_rejected:,}: `split` will stop; repair or remove these files, or "
                f"write max_rejected: {labelled.rejected} under split: in params.yaml",
            )
        )
    rows.append(("split", division(labelled, values)))
    remarks = too_many(labelled, values)
    if not values[TEST]:
        has_test = any(split == TEST for _, split in labelled.images)
        remarks += remarks_without_test(has_test=has_test)
    return [*rows, *(("", remark) for remark in remarks)]


def drawn_splits(labelled: Labelled, values: dict[str, Value]) -> list[str]:
    """The splits that a source with splits of its own lacks, and that `split` draws from train
    because their size is not 0."""
    found = {split for _, split in labelled.images}
    lacking = [split for split in SPLITS[1:] if split not in found and values[split]]
    return lacking if labelled.is_split else []


def doubtful_classes(
    labelled: Labelled, values: dict[str, Value], current: "SplitParams"
) -> list[str]:
    """Sentences on classes at which `split` will stop, and on those that a split lacks."""
    from transfer.dataset.classes import MAX_CLASSES

    classes = labelled.classes
    remarks = []
    if len(classes) > MAX_CLASSES:
        remarks.append(
            f"more than the {MAX_CLASSES:,} classes that a model may have: `split` will stop"
        )
    if labelled.empty:
        folders = first_five([*map(repr, labelled.empty)])
        remarks.append(
            f"no image is in the class folders {folders}: `split` will stop; add images or remove "
            "the folders"
        )
    remarks += _scarce_classes(labelled, values, current.min_images)
    alike = defaultdict(list)
    for name in sorted(classes):
        alike[spelling_key(name)].append(name)
    twice = [name for names in alike.values() if len(names) > 1 for name in names]
    if twice and current.merge_case is None:
        remarks.append(
            f"{first_five([*map(repr, twice)])} differ by case, spaces or hyphens alone: `split` "
            "will stop until split.merge_case is true (one class) or false"
        )
    elif labelled.is_split:
        remarks += _absent_classes(labelled)
    return remarks


def _scarce_classes(labelled: Labelled, values: dict[str, Value], least: int) -> list[str]:
    """A sentence on classes that have fewer images than splits are to be drawn from them."""
    counts, needed = labelled.classes, sum(bool(values[split]) for split in SPLITS)
    if labelled.is_split:
        counts = Counter()
        for (name, split), count in labelled.images.items():
            counts[name] += count if split == "train" else 0
        needed = 1 + len(drawn_splits(labelled, values))
    scarce = [f"{name} ({n})" for name, n in sorted(counts.items()) if 0 < n < needed]
    if not scarce or least:
        return []
    return [
        f"fewer images than splits in {first_five(scarce)}: `split` will stop, or leave such "
        f"classes out with split.min_images: {needed}"
    ]


def _absent_classes(labelled: Labelled) -> list[str]:
    """Sentences on classes that the source's own splits lack."""
    found = {split for _, split in labelled.images}
    if SPLITS[0] not in found:
        return [
            f"no image is in train, only in {', '.join(sorted(map(str, found)))}: `split` will stop"
        ]
    splits = [split for split in SPLITS if split in found]
    absent = {
        split: [name for name in sorted(labelled.classes) if not labelled.images[name, split]]
        for split in splits
    }
    return [
        f"no image in {split}: {first_five([*map(repr, names)])}; "
        + (
            "`split` will stop: add images there, or remove the class from the other splits"
            if split == "train"
            else "scores that need them will say so"
        )
        for split, names in absent.items()
        if names
    ]


def division(labelled: Labelled, values: dict[str, Value]) -> str:
    """How `split` will divide the images, in words."""
    if labelled.is_split:
        return "as the source has it"
    sizes = [(name, values[name]) for name in SPLITS if values[name]]
    if are_shares(values):
        total = sum(size for _, size in sizes)
        return ", ".join(f"{name} {100 * size / total:g} %" for name, size in sizes)
    return ", ".join(f"{name} {size:,g} images" for name, size in sizes)


def are_shares(values: dict[str, Value]) -> bool:
    """Whether the sizes of the splits are fractions or percentages, and not counts."""
    asked = sum(values[name] for name in SPLITS)
    return any(abs(asked - total) < 1e-6 for total in (1, 100))


def too_many(labelled: Labelled, values: dict[str, Value]) -> list[str]:
    """A sentence if more images are asked for than there are."""
    asked, there = sum(values[name] for name in SPLITS), sum(labelled.classes.values())
    if labelled.is_split or are_shares(values) or asked <= there:
        return []
    return [
        f"{asked:,g} images in all, and there are {there:,}: `split` will stop; give fewer, or "
        "percentages, which add up to 100"
    ]


def in_bytes(size: int) -> str:
    """A size in the unit that suits it."""
    for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= each:
            return f"{size / each:,.1f} {unit}"
    return f"{size} bytes"
