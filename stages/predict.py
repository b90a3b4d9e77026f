"""Label images with a trained model: no stage of dvc.yaml but a command, for after `dvc repro` or `dvc pull`.

    python -m stages.predict photos/ --output labels.csv
    python -m stages.predict 'photos/**/*.jpg' more.zip --model head --top-k 3
    find photos -name '*.png' -print0 | python -m stages.predict --null - --format jsonl

PATHS are images, folders (every file in them counts, but for hidden ones), .zip and .tar(.gz) archives, globs in quotes, and - for a
list of files, folders and archives on standard input, one a line. Rows come in that order, those of a folder sorted, while the rest is
still being read.

predicted is the likeliest class, and probability is calibrated on the validation images. distance is how far an image is from the
training images nearest to it in feature space, and unlike how many of a hundred validation images are nearer to theirs: beyond 99,
which the table marks with !, the model answers about something that it has hardly seen.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from transfer.errors import PipelineError
from transfer.files import replacing
from transfer.predicting.paths import STDIN, check_given, read_given
from transfer.predicting.rows import Row
from transfer.predicting.writers import FORMATS, UNLIKE, WRITERS

PREDICTED, FAILED, UNREADABLE, INTERRUPTED = 0, 1, 3, 130  # 2 is argparse's
EXIT_CODES = f"""exit codes:
  {PREDICTED}    all images were predicted, or the reader of the output had enough
  {FAILED}    an error, in a path, the model or params.yaml, say; the file of --output is left as it was
  2    the command line is wrong
  {UNREADABLE}    done, but some images could not be read: their rows say why, in the column error
  {INTERRUPTED}  interrupted
"""


def main() -> int:
    options = parse()
    check_given(options.paths)
    predictor = load(options)
    entries = read_given(options.paths, end=b"\0" if options.null else b"\n")
    with opened(options.output) as file, threadpool_limits(1):  # the images are spread over the cores already
        write = WRITERS[options.format](file, predictor.class_names, min(options.top_k, len(predictor.class_names)))
        n_unreadable = write_all(predictor.stream(entries), write, file, show_progress=sys.stderr.isatty() and not file.isatty())
    return UNREADABLE if n_unreadable else PREDICTED


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.predict", description=__doc__, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", metavar="PATHS", help="see above")
    parser.add_argument("--model", default="finetuned", metavar="NAME", help="scratch, head, augmented or finetuned (the default)")
    parser.add_argument("--top-k", type=_positive, default=1, metavar="K", help="so many classes of each image, the likeliest first (1)")
    parser.add_argument("--format", choices=list(WRITERS), help="by the suffix of --output if it has one of these; otherwise table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output; it appears when it is whole")
    parser.add_argument(
        "--null", "-0", action="store_true", help="paths on standard input end in a null byte, as `find -print0` writes them"
    )
    parser.add_argument("--no-novelty", action="store_true", help="leave distance and unlike empty; data/features/ is not needed then")
    options = parser.parse_args()
    if options.paths.count(STDIN) > 1:
        parser.error("- can be given only once")
    if options.null and STDIN not in options.paths:
        parser.error("--null is about paths on standard input, and there is no - among PATHS")
    if options.format is None:
        options.format = FORMATS.get(options.output.suffix.lower()) if options.output else "table"
        if options.format is None:
            parser.error(f"--output {options.output}: its suffix is none of {', '.join(FORMATS)}; say which --format")
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def load(options: argparse.Namespace):
    """The predictor of the model that was asked for."""
    # TensorFlow takes seconds, and neither --help nor a mistyped path should wait for it.
    from stages.decode import DecodeParams
    from transfer.compute import ComputeParams, set_up
    from transfer.params import load_params
    from transfer.predicting.predictor import load_predictor

    interpolation = load_params(DecodeParams, "decode").interpolation
    set_up(load_params(ComputeParams, "compute"), seed=0)
    return load_predictor(options.model, interpolation, with_novelty=not options.no_novelty)


@contextmanager
def opened(output: Path | None) -> Iterator[TextIO]:
    """The file to write to: standard output, or one that appears under its name when all is written."""
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


def write_all(rows: Iterable[Row], write, file: TextIO, *, show_progress: bool) -> int:
    """Write each row as it comes, then say on standard error what there was; the number of images that could not be read."""
    n = n_unreadable = n_unlike = 0
    for row in tqdm(rows, desc="predict", unit=" images", disable=not show_progress):
        write(row)
        file.flush()
        n += 1
        n_unreadable += row.prediction is None
        n_unlike += row.prediction is not None and (row.prediction.percentile or 0) > UNLIKE
    if n == 0:
        raise PipelineError("no path came in on standard input")
    said = [f"predict: {n:,} images"]
    if n_unreadable:
        said.append(f"{n_unreadable:,} could not be read")
    if n_unlike:
        said.append(f"{n_unlike:,} less like the training images than {UNLIKE:g} of 100 validation images are")
    print(", ".join(said), file=sys.stderr)
    return n_unreadable


def run() -> int:
    """`main` as a program: an error for people is a line on standard error, and a reader who has had enough is none."""
    try:
        return main()
    except PipelineError as error:
        print(f"predict: {error}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left as it ends
        return PREDICTED
    except OSError as error:
        place = error.filename2 or error.filename
        print(f"predict: {f'{place}: ' if place else ''}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


if __name__ == "__main__":
    sys.exit(run())
