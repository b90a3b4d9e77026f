"""Choose which unlabelled images to label next: a table to fill in, and a page to look at.

    python -m transfer suggest photos/ --count 50
    python -m transfer suggest 'photos/**/*.jpg' more.zip --output next.csv

PATHS are images, folders, archives, and globs in quotes, as `predict` takes them. Images whose
bytes the manifest has are left out. The others are ranked by the product of the model's doubt (the
entropy of its calibrated probabilities) and the distance to the nearest training image or chosen
image, so that copies of one another come last.

The table has an empty column label. After you have filled it in, `python -m transfer use FOLDER
--labels TABLE` reads it; rows without a label are left out. docs/suggest.md says how to add the
images to those that have labels, and how many labels this saves.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from transfer.inference import cli
from transfer.inference.input_paths import STDIN, check_given, read_given
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_csv
from transfer.runtime.program import FAILED, command_parser
from transfer.sources.source_file import SourceFile, is_sidecar

if TYPE_CHECKING:  # --help and a mistyped path should not wait most of a second for these imports
    from transfer.inference.predictor import Predictor
    from transfer.inference.suggestion_page import Suggestion

EXIT_CODES = (
    "exit codes:\n"
    f"  {cli.PREDICTED}    done\n"
    f"  {FAILED}    an error, for example in a path, the model or params.yaml; nothing is written\n"
    "  2    the command line is wrong\n"
    f"  {cli.UNREADABLE}    done, but some images could not be read; they are named\n"
)
COLUMNS = ["path", "label", "predicted", "probability", "doubt", "unlike", "score"]


@dataclass
class LeftOut:
    """Images that cannot be chosen. labelled: how many the manifest has already. copies: how many
    have the same bytes as an earlier one. problems: by path, why an image could not be read."""

    labelled: int = 0
    copies: int = 0
    problems: dict[str, str] = field(default_factory=dict)


class Unlabelled(NamedTuple):
    """Images without a label that could be read, row by row: paths; calibrated probabilities
    float64 (N, C); pooled activations float32 (N, D); percentiles of novelty float64 (N,)."""

    paths: list[str]
    probabilities: np.ndarray
    vectors: np.ndarray
    percentiles: np.ndarray


def main(argv: list[str]) -> int:
    """Write the table and the page of the images to label next; the exit code."""
    options = parse(argv)
    check_given(options.paths)
    page = options.output.with_suffix(".html")
    for file, and_so in ((options.output, ", and may hold labels"), (page, "")):
        if file.exists():
            raise PipelineError(f"{file} exists{and_so}; give another --output, or remove it")
    from transfer.dataset.manifest import read_manifest
    from transfer.inference.predictor import load_predictor

    known = set(read_manifest()["sha256"])
    predictor = load_predictor(options.model, with_novelty=True)
    with threadpool_limits(1):  # the images are spread over the cores already
        left_out = LeftOut()
        images = look(predictor, read_given(options.paths), known, left_out)
        suggestions = rank(predictor, images, options.count)
    write_csv(options.output, COLUMNS, [row_of(each) for each in suggestions])
    write_pictures(page, predictor, suggestions, options.paths)
    report(len(images.paths), left_out, suggestions, options.output, page)
    return cli.UNREADABLE if left_out.problems else cli.PREDICTED


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; a contradiction is argparse's error."""
    parser = command_parser("suggest", __doc__, EXIT_CODES)
    parser.add_argument("paths", nargs="+", metavar="PATHS", help="see above")
    parser.add_argument(
        "--count", type=cli.positive, default=50, metavar="N", help="how many images (50)"
    )
    cli.add_model_option(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("suggestions.csv"),
        metavar="TABLE",
        help="a .csv (suggestions.csv); the page is written beside it, as .html",
    )
    options = parser.parse_args(argv)
    if STDIN in options.paths:
        parser.error("- is not allowed: images are read a second time for the page")
    if options.output.suffix.lower() != ".csv":
        parser.error(f"--output {options.output}: the table is a .csv")
    return options


def look(
    predictor: "Predictor", files: Iterable[SourceFile], known: set[str], left_out: LeftOut
) -> Unlabelled:
    """Predict the images that the manifest does not have, and keep for each a few kilobytes by
    which it is compared.

    Args:
        known: SHA-256 of the files that have labels.
        left_out: gets the images that are not among the result.

    Raises:
        PipelineError: no image is left.
    """
    from transfer.features.pooling import pool
    from transfer.inference.predictor import NOT_FINITE

    paths, predictions, vectors = [], [], []
    decoded = decode(predictor, files, known, left_out)
    while batch := list(islice(decoded, predictor.batch_size)):
        activations = predictor.activations(np.stack([pixels for _, pixels in batch]))
        predicted = predictor.predict_activations(activations)
        for (path, _), prediction, vector in zip(
            batch, predicted, pool(activations["cut"]), strict=True
        ):
            if not np.isfinite(prediction.probabilities).all():
                left_out.problems[path] = NOT_FINITE
                continue
            paths.append(path)
            predictions.append(prediction)
            vectors.append(vector)
    if not paths:
        first = "".join(f"; {path}: {why}" for path, why in islice(left_out.problems.items(), 1))
        raise PipelineError(
            f"no image is left to choose from; already in the manifest: {left_out.labelled:,}, "
            f"cannot be read: {len(left_out.problems):,}{first}"
        )
    return Unlabelled(
        paths,
        np.stack([each.probabilities for each in predictions]),
        np.stack(vectors),
        np.array([each.percentile for each in predictions]),
    )


def decode(
    predictor: "Predictor", files: Iterable[SourceFile], known: set[str], left_out: LeftOut
) -> Iterator[tuple[str, np.ndarray]]:
    """Path and pixels uint8 (H, W, 3) of the images without a label, the first of identical ones.
    Text and tables beside them are passed over. The arguments are those of `look`."""
    seen: set[str] = set()
    for file in tqdm(files, desc="suggest", unit=" images", disable=not sys.stderr.isatty()):
        checksum = hashlib.sha256(file.content or b"").hexdigest()
        if file.content is not None and checksum in known:
            left_out.labelled += 1
            continue
        path, pixels, problem = predictor.decode_file(file)
        if pixels is None:
            if not is_sidecar(file.path):
                left_out.problems[path] = problem
        elif checksum in seen:
            left_out.copies += 1
        else:
            seen.add(checksum)
            yield path, pixels


def rank(predictor: "Predictor", images: Unlabelled, count: int) -> list["Suggestion"]:
    """The images to label next, the most important one first."""
    from transfer.inference.suggestion_page import Suggestion
    from transfer.inference.suggestions import choose, doubts

    doubt = doubts(images.probabilities)
    rows, scores = choose(doubt, images.vectors, predictor.novelty.vectors, count)
    likeliest = images.probabilities.argmax(axis=1)
    return [
        Suggestion(
            images.paths[row],
            predictor.class_names[likeliest[row]],
            float(images.probabilities[row].max()),
            float(doubt[row]),
            float(images.percentiles[row]),
            score,
        )
        for row, score in zip(rows, scores, strict=True)
    ]


def row_of(suggestion: "Suggestion") -> list[str | float]:
    """A row of the table in the order of COLUMNS; the label is for a person to write."""
    numbers = (
        suggestion.probability,
        suggestion.doubt,
        suggestion.unlike,
        suggestion.score,
    )
    return [suggestion.path, "", suggestion.predicted, *(round(number, 6) for number in numbers)]


def write_pictures(
    page: Path, predictor: "Predictor", suggestions: list["Suggestion"], given: list[str]
) -> None:
    """Read the chosen images once more, as the predictor sees them, and write the page."""
    from transfer.inference.suggestion_page import thumbnail, write_page

    wanted = {each.path for each in suggestions}
    pictures = {}
    for file in read_given(given):
        if file.path in wanted and file.content is not None:
            pictures[file.path] = thumbnail(predictor.open(file.content))
            if len(pictures) == len(wanted):
                break
    write_page(page, suggestions, pictures, f"{cli.images_in_all(len(suggestions))} to label next")


def report(
    n: int, left_out: LeftOut, suggestions: list["Suggestion"], table: Path, page: Path
) -> None:
    """Print what was chosen of n images without a label, and what to do next."""
    print(
        f"suggest: {len(suggestions):,} of {cli.images_in_all(n)} without a label, in {table} and "
        f"{page}"
    )
    for count, why in (
        (left_out.labelled, "already in the manifest"),
        (left_out.copies, "another has the same bytes"),
    ):
        if count:
            print(f"suggest: left out, because {why}: {cli.images_in_all(count)}")
    for path, problem in islice(left_out.problems.items(), 5):
        print(f"suggest: cannot be read: {path}: {problem}", file=sys.stderr)
    if (more := len(left_out.problems) - 5) > 0:
        print(f"suggest: ... and {more:,} more cannot be read", file=sys.stderr)
    print(f"suggest: fill in the column label of {table}; docs/suggest.md says how to continue")
