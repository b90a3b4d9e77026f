"""Options and output that the commands which label images share."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from transfer.inference.input_paths import STDIN
from transfer.inference.output_formats import FORMATS, WRITERS, Columns
from transfer.inference.predictions import PredictionRow
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write
from transfer.runtime.program import FAILED, INTERRUPTED, command_parser

PREDICTED, UNREADABLE = 0, 3  # 2 is argparse's
EXIT_CODES = (
    "exit codes:\n"
    f"  {PREDICTED}    all images were predicted, or the reader of the output closed it\n"
    f"  {FAILED}    an error, for example in a path, the model or params.yaml; "
    "the file of --output is left as it was\n"
    "  2    the command line is wrong\n"
    f"  {UNREADABLE}    done, but some images could not be read: "
    "the column error of their rows says why\n"
    f"  {INTERRUPTED}  interrupted\n"
)


def parser_of(name: str, description: str, *, top_k: int) -> argparse.ArgumentParser:
    """A parser with the options of `predict` and `label`, to which each adds its own.

    Args:
        top_k: default of --top-k, the number of classes per image.
    """
    parser = command_parser(name, description, EXIT_CODES)
    parser.add_argument("paths", nargs="+", metavar="PATHS", help="see above")
    parser.add_argument(
        "--top-k",
        type=positive,
        default=top_k,
        metavar="K",
        help=f"the K likeliest classes of each image, the likeliest first ({top_k})",
    )
    parser.add_argument(
        "--format",
        choices=list(WRITERS),
        help="by the suffix of --output if it has one of these; otherwise table",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write there instead of standard output; the file appears when it is complete",
    )
    parser.add_argument(
        "--null",
        "-0",
        action="store_true",
        help="paths on standard input end in a null byte, as `find -print0` writes them",
    )
    return parser


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add --model, the trained model that a command uses."""
    parser.add_argument(
        "--model",
        default="finetuned",
        metavar="NAME",
        help="scratch, head, augmented, finetuned (the default), neighbours or probe",
    )


def positive(text: str) -> int:
    """A whole number of at least 1; argparse makes its own error of the ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Parse the command line; `format` is filled in, and `end` is the byte that ends a path on
    standard input. A contradiction is argparse's error."""
    options = parser.parse_args(argv)
    if options.paths.count(STDIN) > 1:
        parser.error("- can be given only once")
    if options.null and STDIN not in options.paths:
        parser.error("--null is about paths on standard input, and there is no - among PATHS")
    if options.format is None:
        options.format = FORMATS.get(options.output.suffix.lower()) if options.output else "table"
        if options.format is None:
            parser.error(
                f"--output {options.output}: its suffix is none of {', '.join(FORMATS)}; add "
                "--format"
            )
    options.end = b"\0" if options.null else b"\n"
    return options


def write_all(
    name: str,
    rows: Iterable[PredictionRow],
    columns: Columns,
    options: argparse.Namespace,
    remarks: Mapping[str, Callable[[PredictionRow], bool]] | None = None,
) -> int:
    """Write each row as it comes, then a summary on standard error; returns the exit code.

    Args:
        name: of the command.
        columns: what is written of a row.
        remarks: phrases, each with a test of a row; the summary counts the rows that pass it.

    Raises:
        PipelineError: there is no row.
    """
    remarks = {"could not be read": lambda row: row.prediction is None, **(remarks or {})}
    counts = dict.fromkeys(remarks, 0)
    n = 0
    with _opened(options.output) as file:
        write = WRITERS[options.format](file, columns)
        for row in tqdm(
            rows, desc=name, unit=" images", disable=not sys.stderr.isatty() or file.isatty()
        ):
            write(row)
            file.flush()
            n += 1
            for remark, is_true in remarks.items():
                counts[remark] += is_true(row)
        if n == 0:
            raise PipelineError("standard input has no path")
        summary = [
            f"{name}: {images_in_all(n)}",
            *(f"{count:,} {remark}" for remark, count in counts.items() if count),
        ]
        print(", ".join(summary), file=sys.stderr)
    return UNREADABLE if counts["could not be read"] else PREDICTED


def images_in_all(n: int) -> str:
    """A number of images in words, such as `1 image`."""
    return "1 image" if n == 1 else f"{n:,} images"


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """The file to write to: standard output, or one that appears under its name when everything is
    written."""
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    with (
        atomic_write(output) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file
