"""Search for better values of the trainings' parameters, from the caches: `make sweep TRIALS=20`.

There is one study for each section in transfer/commands/sweep/space.yaml, which says what is
varied. Trial 0 has the values of params.yaml; Optuna's TPE sampler draws the later ones from the
trials before them, the first few at random. The stage itself trains a trial, from the arrays of
`dvc repro augment` and with the same few seeds for all trials. The score is the mean validation
loss of the kept epoch. Fine-tuning starts from params.yaml's augmented model with the same seed.
Nothing frozen is computed, and the folders where trials are trained have no link to the test split.

The best of many trials is partly the luckiest one. So the best trial and params.yaml are then
trained with further seeds, which did not choose it. The sweep prints the difference with its 95 %
interval (paired t test over seeds), and the command that makes a DVC experiment of the best values.

OUTPUT/trainings/ keeps each finished training under a key of everything that decides it. To resume
a sweep, or to add trials, call it again: it draws the same trials, reads the finished trainings,
and ends as if it had never been stopped. OUTPUT/SECTION.csv has the trials; OUTPUT/SECTION.png and
OUTPUT/SECTION_parameters.png are pictures, which Optuna draws.
"""

import argparse
from pathlib import Path

from transfer.runtime.program import command_parser

SPACE = Path("transfer/commands/sweep/space.yaml")
OUTPUT = Path("logs/sweep")


def main(argv: list[str]) -> None:
    """Search as the words say; `--help` needs no package of the extra."""
    options = parse(argv)
    from transfer.commands.sweep import search

    search.main(options)


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; numbers that are too small are argparse's error."""
    parser = command_parser("sweep", __doc__)
    parser.add_argument(
        "--trials", type=int, default=20, metavar="N", help="trials for each section (20)"
    )
    parser.add_argument(
        "--space",
        type=Path,
        default=SPACE,
        metavar="FILE",
        help=f"the sections, and what is varied ({SPACE})",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="seeds of each trial: params.yaml's own and those after it (3)",
    )
    parser.add_argument(
        "--further",
        type=int,
        default=5,
        metavar="N",
        help="seeds on which the best trial is compared with params.yaml (5)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampler (0)")
    parser.add_argument(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="FOLDER",
        help=f"for tables, pictures and trainings ({OUTPUT})",
    )
    options = parser.parse_args(argv)
    if options.trials < 1 or options.seeds < 1 or options.further < 2:
        parser.error("at least one trial, one seed and two further seeds")
    return options
