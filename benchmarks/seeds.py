"""Test accuracy over seeds (validation accuracy, if there are no test images), as DVC experiments:
how far one run's numbers hang on chance.

    python -m benchmarks.seeds --seeds 0 1 2 3 4
    python -m benchmarks.seeds --seeds 0 1 2 --vary training --preset lesson

`--vary splits` (the default) gives each seed to the split and to the trainings: other images train
and test. Views keep their seed, so rows of `.rows/` serve every split, and what one split has
computed no other computes again. `--vary training` leaves the split alone and gives the seed to the
augmentation instead. The experiments are named NAME-VARY-SEED, NAME being the preset's or
`defaults`, and stay in `dvc exp show`; the workspace is left alone. Prints one row per model: mean,
standard deviation (of a sample, n - 1), and each seed.
"""

import argparse
import json
import subprocess
import sys

import pandas as pd

from transfer.classifiers.names import MODEL_NAMES
from transfer.commands.use.params_file import Value, rendered
from transfer.commands.use.presets import preset_names, read_preset
from transfer.dataset.scored_split import split_of

TRAININGS = ("train_scratch", "train_head", "train_augmented", "finetune")
SEEDED = {"splits": ("split", *TRAININGS), "training": ("augment", *TRAININGS)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--vary", choices=SEEDED, default="splits")
    parser.add_argument("--preset", choices=preset_names(), help="a file of docs/presets")
    arguments = parser.parse_args()
    preset = read_preset(arguments.preset) if arguments.preset else {}
    name = arguments.preset or "defaults"
    seeded = SEEDED[arguments.vary]
    runs = {
        seed: run_experiment(f"{name}-{arguments.vary}-{seed}", preset, seeded, seed)
        for seed in arguments.seeds
    }
    (split,) = {split for split, _ in runs.values()}
    table = accuracy_table({seed: accuracies for seed, (_, accuracies) in runs.items()})
    print(f"\n{split} accuracy, {name}, {arguments.vary} by seed:\n{table.round(3).to_string()}")


def accuracy_table(accuracies: dict[int, dict[str, float]]) -> pd.DataFrame:
    """One row per model that was trained: mean, standard deviation, and the accuracy of each seed;
    no deviation of a single one."""
    table = pd.DataFrame(accuracies, index=MODEL_NAMES).dropna(how="all")
    deviation = table.std(axis=1) if len(accuracies) > 1 else "one seed"
    return pd.concat(
        [
            table.mean(axis=1).rename("mean"),
            pd.Series(deviation, table.index, name="sd"),
            table,
        ],
        axis=1,
    )


def run_experiment(
    name: str, preset: dict[str, Value], seeded: tuple[str, ...], seed: int
) -> tuple[str, dict[str, float]]:
    """Run one experiment beside the workspace; the split that its models are scored on, and the
    accuracy of each model that is not skipped.

    Args:
        preset: values of params.yaml by `section.key`.
    """
    changes = [f"{key}={rendered(value)}" for key, value in preset.items()]
    changes += [f"{section}.seed={seed}" for section in seeded]
    dvc = [sys.executable, "-m", "dvc"]
    settings = [word for change in changes for word in ("--set-param", change)]
    # of an earlier call; --force would run every stage
    subprocess.run([*dvc, "exp", "remove", name], check=False, capture_output=True)
    subprocess.run([*dvc, "exp", "run", "--temp", "--name", name, *settings], check=True)
    shown = subprocess.run(
        [*dvc, "metrics", "diff", "--all", "--json", "HEAD", name],
        check=True,
        capture_output=True,
        text=True,
    )
    compared = json.loads(shown.stdout)["metrics/accuracy.json"]
    found = {name: each["new"] for name, each in compared.items() if each.get("new") is not None}
    return split_of(found), {name: found[name] for name in MODEL_NAMES if name in found}


if __name__ == "__main__":
    main()
