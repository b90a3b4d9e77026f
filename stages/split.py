"""Assign each image to train, validation or test, and list the rejected files with reasons."""

from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transfer.cluster.choose_engine import load_engine
from transfer.dataset.classes import (
    check_classes,
    choose_classes,
    find_masks,
    label_files,
    place_files,
)
from transfer.dataset.dividing import check_every_class_everywhere, divide
from transfer.dataset.duplicates import list_duplicates, write_duplicates
from transfer.dataset.manifest import FORMATS, manifest_file, write_manifest
from transfer.dataset.notes_file import write_notes
from transfer.dataset.perceptual_hashes import write_hashes
from transfer.dataset.rejected import check_rejected, write_rejected
from transfer.dataset.split_notes import (
    describe_clutter,
    describe_drawn,
    describe_group_by,
    describe_masks,
    describe_remarks,
    describe_rules,
    describe_scored,
    describe_ties,
    describe_unlabelled,
)
from transfer.dataset.split_params import SplitParams
from transfer.dataset.split_report import report
from transfer.dataset.training_ranges import derive_rules, describe_dark
from transfer.decoding.rgb import Colour
from transfer.decoding.value_ranges import write_pixel_rules
from transfer.engines.base import Engine
from transfer.labels.find_labels import find_path_labels
from transfer.labels.inner_folders import describe_empty_folders, describe_inner_folders
from transfer.labels.layout import find_layout
from transfer.labels.path_label import PathLabel, PathLabels
from transfer.runtime.checkpoints import resumable
from transfer.runtime.params import load_param, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.sources.scan import scan_source
from transfer.sources.scan_journal import ScanJournal
from transfer.sources.scanned_file import ScannedFiles


def main() -> None:
    """Decide which image is train, validation or test, and why some files are rejected."""
    params = load_params(SplitParams, "split")
    engine = load_engine(load_params(ResourceParams, "resources"), "split")
    background = load_param(Colour, "decode.background")
    with resumable("split", leave_out={params.source}) as checkpoint:
        split_source(params, engine, background, checkpoint.folder)


def split_source(
    params: SplitParams, engine: Engine, background: tuple[int, int, int], checkpoint: Path
) -> None:
    """Scan the source's files, divide them and write all outputs.

    Args:
        background: the colour behind transparent pixels.
        checkpoint: folder that keeps what the scan has found until the stage ends.

    Raises:
        PipelineError: the source cannot be read or divided as the parameters say.
    """
    passed_over: list[str] = []
    remarks: list[str] = []
    with ScanJournal(checkpoint) as journal:
        files, folders = scan_source(
            params.source,
            engine,
            journal,
            background=background,
            follow_links=params.follow_links,
            on_clutter=passed_over.append,
            on_remark=remarks.append,
        )
    labelled = label_source(files, folders, passed_over, params)
    rejected = labelled.files.by_path(np.flatnonzero(labelled.files.has_problem))
    images = labelled.files.by_path(np.flatnonzero(~labelled.files.has_problem))
    write_rejected(rejected)
    check_rejected(rejected, params.max_rejected)
    check_classes(images, rejected, labelled.class_folders, params.source)
    images, class_notes = choose_classes(images, params)
    is_split = labelled.is_split
    manifest = divide(images, params, is_split=is_split, known=labelled.known)
    check_every_class_everywhere(manifest, images, params, is_split=is_split)
    rules = derive_rules(images, manifest)
    duplicates = list_duplicates(manifest, images)
    notes = [
        *remarks,
        *describe_clutter(passed_over),
        *labelled.notes,
        *class_notes,
        *describe_group_by(images, params.group_by),
        *describe_remarks(images),
        *describe_rules(rules),
        *describe_dark(images, rules),
        *describe_ties(images, manifest),
        *describe_drawn(images, manifest, is_split=is_split),
        *describe_scored(manifest, params),
    ]
    write_duplicates(duplicates)
    write_hashes(images.paths, images.perceptual)
    write_pixel_rules(rules)
    write_notes([*labelled.printed, *notes])
    write_manifest(manifest, manifest_file(params.manifest), params.order, images.sha256)
    for form in {*FORMATS} - {params.manifest}:  # of an earlier run by hand
        manifest_file(form).unlink(missing_ok=True)
    report(manifest, duplicates, rejected, params, notes)


class Labelled(NamedTuple):
    """The files of a source with their classes and splits.

    known: what a table or a pattern says, by path. class_folders: the classes that have a folder,
    maybe an empty one. notes: what was done. printed: remarks on a table or a pattern, which were
    printed already.
    """

    files: ScannedFiles
    is_split: bool
    known: dict[str, PathLabel]
    class_folders: set[str]
    notes: list[str]
    printed: list[str]


def label_source(
    files: ScannedFiles, folders: list[str], passed_over: list[str], params: SplitParams
) -> Labelled:
    """Find the class of each file by a table, a pattern or its folder.

    Args:
        folders: their paths. passed_over: paths of text, tables and what systems leave.

    Raises:
        PipelineError: as `find_path_labels` and `find_layout`.
    """
    labels = read_path_labels(files, passed_over, params)
    if labels is not None:
        files = label_files(files, labels)
        return Labelled(files, labels.is_split, labels.labels, set(), [], labels.remarks)
    layout = find_layout(files.paths + passed_over + folders, params.source)
    unlabelled = [path for path in files.paths if layout.is_unlabelled(path)]
    masks = find_masks(files, layout)
    files = place_files(files.without({*unlabelled, *masks}), layout)
    notes = [
        *describe_unlabelled(unlabelled),
        *describe_masks(masks),
        *describe_empty_folders(layout),
        *describe_inner_folders(layout, compress(files.paths, ~files.has_problem)),
    ]
    class_folders = {place[1] for folder in folders if (place := layout.place(folder))}
    return Labelled(files, layout.is_split, {}, class_folders, notes, [])


def read_path_labels(
    files: ScannedFiles, passed_over: list[str], params: SplitParams
) -> PathLabels | None:
    """The labels by split.labels or split.label_pattern, printed; None where folders have them."""
    has_problem = files.has_problem
    images = sorted(compress(files.paths, ~has_problem))
    others = sorted(compress(files.paths, has_problem))
    labels = find_path_labels(
        images,
        others,
        params.source,
        params.labels,
        params.columns,
        params.label_pattern,
        passed_over,
    )
    for remark in labels.remarks if labels else []:
        print(f"split: {remark}")
    return labels


if __name__ == "__main__":
    run_stage(main)
