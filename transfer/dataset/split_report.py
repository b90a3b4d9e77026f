"""What `split` prints: a table of classes and splits, and what a person should look at."""

import pandas as pd

from transfer.dataset.dividing import absent
from transfer.dataset.manifest import SPLITS, UNUSED, class_names
from transfer.dataset.rejected import REJECTED, list_rejected
from transfer.dataset.scored_split import scored_split
from transfer.dataset.split_params import SplitParams
from transfer.labels.listing import count_of, first_few
from transfer.sources.scanned_file import ScannedFiles

_SHOWN_CLASSES = 50


def report(
    manifest: pd.DataFrame,
    duplicates: pd.DataFrame,
    rejected: ScannedFiles,
    params: SplitParams,
    notes: list[str],
) -> None:
    """Print a short summary, and above all what the user should look at."""
    counts = manifest["split"].value_counts()
    _print_table(manifest)
    print(
        f"split: {len(class_names(manifest))} classes, {len(manifest)} images, "
        f"{count_of(len(rejected), 'file')} rejected ({REJECTED})"
    )
    if rejected:
        print(list_rejected(rejected))
    for sentence in [*notes, *_describe_sizes(counts, params), *_warnings(manifest, duplicates)]:
        print(f"split: {sentence}")


def _print_table(manifest: pd.DataFrame) -> None:
    """The images of each class and split."""
    table = pd.crosstab(manifest["class_name"], manifest["split"])
    table = table[[name for name in (*SPLITS, UNUSED) if name in table]]
    table = table.assign(all=table.sum(axis=1))
    shown = table.head(_SHOWN_CLASSES)
    print(pd.concat([shown, table.sum().to_frame("all classes").T]).to_string())
    if len(table) > len(shown):
        print(f"({len(table) - len(shown):,} more classes are in the table's last row)")


def _describe_sizes(counts: pd.Series, params: SplitParams) -> list[str]:
    """How the sizes were understood, and where the splits have others."""
    sentences = []
    got = [int(counts.get(split, 0)) for split in SPLITS]
    if params.is_percentages:
        sentences.append("the sizes add up to 100 and are read as percentages")
    if not params.is_fractions and got != params.sizes.astype(int).tolist():
        sentences.append(
            f"asked for {', '.join(f'{size:.0f}' for size in params.sizes)}, got "
            f"{', '.join(map(str, got))}: groups are never cut, every class is in every split, "
            "and a source that is already split stays so"
        )
    if UNUSED in counts:
        sentences.append(
            f"images in no split, since the counts ask for fewer than there are: {counts[UNUSED]}"
        )
    return sentences


def _warnings(manifest: pd.DataFrame, duplicates: pd.DataFrame) -> list[str]:
    """Labels that contradict each other, and what is wrong with the source's own splits."""
    sentences = []
    twice = duplicates.loc[duplicates["same_file_in_two_classes"], "path"].tolist()
    if twice:
        sentences.append(
            f"WARNING: {len(twice)} images are the same file in two classes, one label is wrong: "
            f"{first_few(twice, 6)}"
        )
    splits = [split for split in SPLITS if (manifest["split"] == split).any()]
    if lacking := [f"{name!r} has no image in {split}" for name, split in absent(manifest, splits)]:
        sentences.append(
            f"WARNING: the source's own splits lack classes: {first_few(lacking, 10)}; scores that "
            "need them will say so"
        )
    leaks = duplicates.groupby("group")["split"].nunique()
    if leaking := int((leaks > 1).sum()):
        sentences.append(
            "WARNING: groups of duplicates that lie across the source's own splits: "
            f"{leaking}; {scored_split(manifest)} scores are flattered"
        )
    return sentences
