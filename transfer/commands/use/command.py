"""Look at a source of images, print what it is, and write params.yaml for it; `dvc repro` then
does the rest.

    python -m transfer use photos                        # class folders, or splits of them
    python -m transfer use photos --labels labels.csv    # labels from a table
    python -m transfer use photos --label-pattern '(?P<label>[a-z]+)[.]'    # from the paths
    python -m transfer use photos.zip --split 70/15/15 --dry-run            # only look
    python -m transfer use photos --preset modern    # with the values of docs/presets/modern.yaml
    python -m transfer use --preset default    # these alone; the source stays

PATH is a folder, a .zip or .tar(.gz), or the URL of a bucket (s3://bucket/prefix). Any name will
do; the shell wants quotes around spaces and brackets. A path inside the project is written relative
to it, any other absolute. Comments and order of params.yaml stay.

For another source than that of params.yaml, what is not given is reset: labels from folders, or
from a table that lies in the folder if it has no class folders; no group_by; 60/20/20 if the sizes
were counts of images.

A preset sets a backbone, and sizes, views, heads and rates that suit it; docs/presets.md says how
they were chosen. Every preset has the same keys, so the last one that was used counts.
"""

import argparse
import re
import typing
from pathlib import Path

from transfer.commands.use.description import describe
from transfer.commands.use.dvc_limits import advise_on_dvc
from transfer.commands.use.labelling import (
    Labelled,
    find_class_names,
    label_by_words,
    label_without_words,
    with_class_names,
)
from transfer.commands.use.params_file import Value, edit_params, rendered
from transfer.commands.use.presets import PRESETS, preset_changes, preset_names, read_preset
from transfer.commands.use.source_path import as_source, untracked
from transfer.commands.use.survey import Survey, first_five, survey
from transfer.labels.find_labels import NO_TABLE
from transfer.labels.folder_words import SPLITS
from transfer.labels.path_label import LabelColumns
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import flattened, load_params, read_params
from transfer.runtime.program import command_parser
from transfer.sources.reader import read_source
from transfer.sources.source_file import is_unknown_hidden

if typing.TYPE_CHECKING:  # pandas takes its time, which --help should not
    from transfer.dataset.split_params import SplitParams

DEFAULT_SIZES = (0.6, 0.2, 0.2)
KINDS = tuple(LabelColumns.model_fields)
# options that say something of the images at PATH
OF_A_SOURCE = ("labels", "column", "label_pattern", "group_by", "split", "follow_links")


def main(argv: list[str]) -> int:
    """Look at the source that the words name and write params.yaml; the exit code."""
    options = parse(argv)
    changes = preset_changes(read_preset(options.preset), read_params()) if options.preset else {}
    if options.path is not None:
        changes |= look(options)
    written = ", ".join(f"{key} = {rendered(value)}" for key, value in changes.items())
    if options.dry_run:
        print(f"use: would write to params.yaml: {written or 'nothing, since it says all this'}")
        return 0
    if changes:
        edit_params(changes)
    print(f"use: wrote to params.yaml: {written or 'nothing, since it says all this'}")
    print("use: next: dvc repro")
    return 0


def look(options: argparse.Namespace) -> dict[str, Value]:
    """Look at the source, print what it is, and return the values that params.yaml has to be given
    for it, by `split.key`.

    Raises:
        PipelineError: as `as_source`, `load`, `survey` and `choose`.
    """
    source = as_source(options.path)
    current = load()
    follow_links = options.follow_links or (current.source == source and current.follow_links)
    passed_over: list[str] = []
    remarks: list[str] = []
    entries = read_source(
        source,
        follow_links=follow_links,
        on_clutter=passed_over.append,
        on_remark=remarks.append,
    )
    found = survey(entries, source)
    values, labelled = choose(source, current, options, found)
    values["follow_links"] = follow_links
    rows = describe(found, labelled, values, current)
    rows += [("names", remark) for remark in remarks]
    if passed_over:
        rows.append(("clutter", f"passed over: {len(passed_over):,}, such as {passed_over[0]}"))
    if hidden := [path for path in passed_over if is_unknown_hidden(path)]:
        rows.append(("", f"hidden: {first_five(hidden)}; rename a class called so"))
    print("\n".join(f"{title:10} {text}" for title, text in rows))
    labels = values["labels"]
    is_part = labels == NO_TABLE or Path(labels).is_relative_to(source)
    for place in [source] if is_part else [source, labels]:
        if advice := untracked(place):
            print(f"use: {advice}")
    for advice in advise_on_dvc(source, found, passed_over):
        print(f"use: {advice}")
    return changed(values, current)


def parse(argv: list[str]) -> argparse.Namespace:
    """What was typed, with the `columns` by KIND, None if none is named; a contradiction is
    argparse's error."""
    parser = parser_of_use()
    options, rest = parser.parse_known_args(argv)
    if rest and options.path is not None and not rest[0].startswith("-"):
        whole = " ".join([options.path, *rest])
        parser.error(f"one PATH is read; if it has spaces, write it in quotes: {whole!r}")
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.path is None:
        if of_a_source := [name for name in OF_A_SOURCE if getattr(options, name)]:
            parser.error(f"--{of_a_source[0].replace('_', '-')} is of a source; name its PATH")
        if options.preset is None:
            parser.error("name the PATH of your images, or a --preset, or both")
    if options.labels is not None and options.label_pattern is not None:
        parser.error("--labels and --label-pattern both give labels; choose one")
    options.columns = None
    for word in options.column:
        kind, _, name = word.partition("=")
        if kind not in KINDS or not name:
            parser.error(f"--column {word}: write KIND=NAME, KIND being one of {', '.join(KINDS)}")
        options.columns = (options.columns or dict.fromkeys(KINDS)) | {kind: name}
    return options


def parser_of_use() -> argparse.ArgumentParser:
    """The command line of `use`."""
    parser = command_parser("use", __doc__)
    parser.add_argument("path", metavar="PATH", nargs="?", help="see above")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=f"values from {PRESETS}/NAME.yaml as well, or alone where no PATH is given; there are "
        f"{', '.join(preset_names())}",
    )
    parser.add_argument(
        "--labels",
        metavar="TABLE",
        help="a CSV, TSV, JSON, JSON lines or Parquet file of paths and labels",
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="KIND=NAME",
        help=f"a column of that table, where the guess is wrong; KIND is {', '.join(KINDS)}",
    )
    parser.add_argument(
        "--label-pattern",
        metavar="REGEX",
        help="a regular expression on the path whose group (?P<label>...) is the class",
    )
    parser.add_argument(
        "--group-by",
        metavar="REGEX",
        help="a regular expression on the path; images with the same match stay on one side",
    )
    parser.add_argument(
        "--split",
        type=parse_sizes,
        metavar="A/B/C",
        help="train, validation, test: percentages, fractions or counts of images, as 70/15/15; "
        "80/20/0 keeps no test images, and the models are then scored on the validation images",
    )
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="read symbolic links that lead out of the folder, or to folders, as caches have them",
    )
    parser.add_argument("--dry-run", action="store_true", help="only look, write nothing")
    return parser


def parse_sizes(text: str) -> tuple[float, float, float]:
    """`70/15/15`, `0.7/0.15/0.15` or `700/150/150` as fractions or counts, for `split`.

    Raises:
        argparse.ArgumentTypeError: not three numbers, or percentages or fractions of another sum.
    """
    words = [word.strip().rstrip("%") for word in re.split(r"[/:,]", text)]
    try:
        sizes = [float(word) for word in words]
    except ValueError:
        sizes = []
    if len(sizes) != len(SPLITS) or not all(0 <= size < float("inf") for size in sizes):
        raise argparse.ArgumentTypeError(
            f"{text!r}: write three numbers, train, validation and test, such as 70/15/15"
        )
    total = sum(sizes)
    if abs(total - 100) < 1e-6:
        return tuple(round(size / 100, 9) for size in sizes)
    if abs(total - 1) < 1e-6:
        return tuple(sizes)
    if "%" in text or any(size % 1 for size in sizes):
        raise argparse.ArgumentTypeError(
            f"{text!r} adds up to {total:g}; percentages add up to 100, fractions to 1"
        )
    return tuple(int(size) for size in sizes)


def load() -> "SplitParams":
    """The section `split` of params.yaml as it is.

    Raises:
        PipelineError: as `load_params`.
    """
    from transfer.dataset.split_params import SplitParams

    return load_params(SplitParams, "split")


def choose(
    source: str, current: "SplitParams", options: argparse.Namespace, found: Survey
) -> tuple[dict[str, Value], Labelled]:
    """The values of the section `split` that suit the source, by key, and how they label it.

    Raises:
        PipelineError: there are no labels, or the values do not fit each other.
    """
    is_same = current.source == source
    no_columns = LabelColumns(**dict.fromkeys(KINDS))
    labels, columns, pattern, group_by = NO_TABLE, no_columns, None, None
    if is_same:
        labels, columns = current.labels, current.columns
        pattern, group_by = current.label_pattern, current.group_by
    if options.labels is not None:
        table = as_source(options.labels)
        columns = columns if table == labels else no_columns
        labels, pattern = table, None
    if options.label_pattern is not None:
        labels, columns, pattern = NO_TABLE, no_columns, options.label_pattern
    if options.columns is not None:
        columns = LabelColumns(**options.columns)
    try:
        if labels == NO_TABLE and pattern is None:
            labels, labelled = label_without_words(source, found, columns)
        else:
            labelled = label_by_words(source, found, labels, columns, pattern)
    except PipelineError as problem:
        raise PipelineError(with_options(str(problem))) from None
    class_names = current.class_names if is_same else find_class_names(source, found, labelled)
    labelled = with_class_names(source, class_names, labelled)
    sizes = (current.train, current.validation, current.test)
    if not is_same and not current.is_fractions:
        sizes = DEFAULT_SIZES
    values = {
        "source": source,
        "labels": labels,
        **{f"columns.{kind}": name for kind, name in columns},
        "label_pattern": pattern,
        "class_names": class_names,
        **dict(zip(SPLITS, options.split or sizes, strict=True)),
        "group_by": group_by if options.group_by is None else options.group_by,
        # the sample keeps the split that its published results are of
        "draw_by": current.draw_by if is_same else "checksum",
    }
    check(current, values)
    return values, labelled


def with_options(problem: str) -> str:
    """An error's text, in which the option that sets a column stands behind its parameter."""
    return re.sub(r"split\.columns\.(label|path)(?! =)", r"\g<0>, here --column \1=NAME", problem)


def check(current: "SplitParams", values: dict[str, Value]) -> None:
    """See that `split` will take the values.

    Raises:
        PipelineError: it will not; each problem is named.
    """
    from pydantic import ValidationError

    plain = {key: value for key, value in values.items() if "." not in key}
    try:
        type(current).model_validate(current.model_dump() | plain)
    except ValidationError as error:
        problems = [
            ".".join(["split", *map(str, problem["loc"])])
            + ": "
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        ]
        nothing = not all(values[name] for name in SPLITS[:2])
        example = ["here --split 80/10/10 say"] if nothing else []
        raise PipelineError("; ".join([*problems, *example])) from None


def changed(values: dict[str, Value], current: "SplitParams") -> dict[str, Value]:
    """The values that are not those of params.yaml, by `split.key`."""
    before = flattened(current.model_dump())
    return {f"split.{key}": value for key, value in values.items() if before[key] != value}
