"""Label images with a trained model, after `dvc repro` or `dvc pull`.

    python -m transfer predict photos/ --output labels.csv
    python -m transfer predict 'photos/**/*.jpg' more.zip --model head --top-k 3
    find photos -name '*.png' -print0 | python -m transfer predict --null - --format jsonl

PATHS are images, folders (all their files except hidden ones), .zip and .tar(.gz) archives, globs
in quotes, and - for a list of files, folders and archives on standard input, one per line. Rows
have the order of PATHS, with the files of a folder sorted, and are written while later files are
still being read.

predicted is the likeliest class, and probability is calibrated on the validation images. distance
is the mean distance to the nearest training images in feature space. unlike says how many of a
hundred validation images are nearer to the training images than this image: above 99, which the
table marks with !, the model has hardly seen anything similar.

The first use of a model converts it to LiteRT, which needs TensorFlow and takes seconds. The file
is kept in .cache/, and later runs load neither TensorFlow nor Keras.
"""

import argparse

from threadpoolctl import threadpool_limits

from transfer.inference import cli
from transfer.inference.columns import UNLIKE, PredictionColumns
from transfer.inference.input_paths import check_given, read_given
from transfer.inference.predictions import PredictionRow


def main(argv: list[str]) -> int:
    """Predict the images that the command line names and write the rows; returns the exit code."""
    options = parse(argv)
    check_given(options.paths)
    # It takes most of a second, and neither --help nor a mistyped path should wait for it.
    from transfer.inference.predictor import load_predictor

    predictor = load_predictor(options.model, with_novelty=not options.no_novelty)
    columns = PredictionColumns(predictor.class_names, options.top_k)
    remarks = {
        f"less like the training images than {UNLIKE:g} of 100 validation images are": is_unlike
    }
    with threadpool_limits(1):  # the images are spread over the cores already
        return cli.write_all(
            "predict",
            predictor.stream(read_given(options.paths, end=options.end)),
            columns,
            options,
            remarks,
        )


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line of `predict`."""
    parser = cli.parser_of("predict", __doc__, top_k=1)
    cli.add_model_option(parser)
    parser.add_argument(
        "--no-novelty",
        action="store_true",
        help="leave distance and unlike empty; data/features/ is not needed then",
    )
    return cli.parse(parser, argv)


def is_unlike(row: PredictionRow) -> bool:
    """Whether an image is less like the training images than UNLIKE percent of the validation
    images."""
    return row.prediction is not None and (row.prediction.percentile or 0) > UNLIKE
