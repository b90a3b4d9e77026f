"""Label images with ImageNet's 1,000 classes, by a network as it was trained: no stage of dvc.yaml but a command that needs no other.

    python -m stages.label photos/
    python -m stages.label 'photos/**/*.jpg' more.zip --backbone MobileNetV3Large --top-k 3 --output labels.csv
    find photos -name '*.png' -print0 | python -m stages.label --null - --format jsonl

PATHS are images, folders (every file in them counts, but for hidden ones), .zip and .tar(.gz) archives, globs in quotes, and - for a
list of files, folders and archives on standard input, one a line. Rows come in that order, those of a folder sorted, while the rest is
still being read.

Each class has its name, its WordNet id (two classes are named crane, and two maillot) and the network's own probability, which is not
calibrated. The names ship with the project. The weights with the top, 22 to 575 MB, are fetched once and kept where Keras keeps them,
$KERAS_HOME/models or ~/.keras/models; a file that is there already is used, and so is one named with --weights.
"""

import argparse
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

from transfer.backbones import ARCHITECTURES
from transfer.labelling.classes import read_classes
from transfer.labelling.sheet import LabelSheet
from transfer.labelling.weights import check_name, find_weights
from transfer.params import load_param
from transfer.predicting import command
from transfer.predicting.paths import check_given, read_given


def main() -> int:
    options = parse()
    check_given(options.paths)
    labeller = load(options)
    sheet = LabelSheet(read_classes(), options.top_k)
    with threadpool_limits(1):  # the images are spread over the cores already
        return command.write_all("label", labeller.stream(read_given(options.paths, end=options.end)), sheet, options)


def parse() -> argparse.Namespace:
    parser = command.parser_of("label", __doc__, top_k=5)
    parser.add_argument("--backbone", metavar="NAME", help=f"{', '.join(ARCHITECTURES)} (backbone.name of params.yaml)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="the network's file with its top, as Keras publishes it")
    return command.parse(parser)


def load(options: argparse.Namespace):
    """The network that was asked for."""
    name = options.backbone or load_param(str, "backbone.name")
    check_name(name, "--backbone" if options.backbone else "params.yaml: backbone.name =")
    weights = find_weights(name, options.weights)
    # TensorFlow takes seconds, and nothing above should wait for it.
    from stages.decode import DecodeParams
    from transfer.compute import ComputeParams, set_up
    from transfer.labelling.labeller import Labeller
    from transfer.params import load_params

    interpolation = load_params(DecodeParams, "decode").interpolation
    set_up(load_params(ComputeParams, "compute"), seed=0)
    return Labeller(name, weights, interpolation)


def run() -> int:
    return command.run("label", main)


if __name__ == "__main__":
    sys.exit(run())
