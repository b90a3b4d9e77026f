"""What `split` prints: a table of classes and splits, and what a person should look at."""

import pandas as pd

from transfer.dataset.dividing import absent
from transfer.dataset.listing import count_files, first_ten
from transfer.dataset.manifest import SPLITS, UNUSED, class_names
from transfer.dataset.rejected import REJECTED, list_rejected
from transfer.dataset.scored_split import scored_split
from transfer.dataset.split_params import SplitParams
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
    columns = [name for name in (*SPLITS, UNUSED) if counts.get(name)]
    table = pd.crosstab(manifest["class_name"], manifest["split"])[columns].assign(
        all=lambda table: table.sum(axis=1)
    )
    shown = table.head(_SHOWN_CLASSES)
    print(pd.concat([shown, table.sum().to_frame("all classes").T]).to_string())
    if len(table) > len(shown):
        print(f"({len(table) - len(shown):,} more classes are in the table's last row)")
    print(
        f"split: {len(class_names(manifest))} classes, {len(manifest)} images, "
        f"{count_files(len(rejected))} rejected ({REJECTED})"
    )
    if rejected:
        print(list_rejected(rejected))
    for note in notes:
        print(f"split: {note}")
    if params.is_percentages:
        print("split: the sizes add up to 100 and are read as percentages")
    if (
        not params.is_fractions
        and (got := [int(counts.get(s, 0)) for s in SPLITS]) != params.sizes.astype(int).tolist()
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
    splits = [split for split in SPLITS if counts.get(split)]
    if lacking := [f"{name!r} has no image in {split}" for name, split in absent(manifest, splits)]:
        print(
            f"split: WARNING: the source's own splits lack classes: {first_ten(lacking)}; scores "
            "that need them will say so"
        )
    leaks = duplicates.groupby("group")["split"].nunique()
    if leaking := int((leaks > 1).sum()):
        print(
            "split: WARNING: groups of duplicates that lie across the source's own splits: "
            f"{leaking}; {scored_split(manifest)} scores are flattered"
        )
