"""Test accuracy over seeds, as DVC experiments: the defaults, or a preset's values laid over them.

    python -m benchmarks.seeds --seeds 0 1 2
    python -m benchmarks.seeds --seeds 0 1 2 --preset docs/lesson.yaml

Each seed is given to the augmentation and to the three trainings; split and weights stay. The experiments are named
NAME-SEED and stay in `dvc exp show`; the workspace is left alone. Prints a row a model: the mean, and each seed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

SEEDED = ("augment", "train_head", "train_augmented", "finetune")
MODELS = ("head", "augmented", "finetuned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", type=Path, help="a YAML file of sections of params.yaml")
    arguments = parser.parse_args()
    preset = yaml.safe_load(arguments.preset.read_text(encoding="utf-8")) if arguments.preset else {}
    name = arguments.preset.stem if arguments.preset else "defaults"
    accuracies = {seed: run_experiment(f"{name}-{seed}", preset, seed) for seed in arguments.seeds}
    table = pd.DataFrame(accuracies, index=MODELS)
    table.insert(0, "mean", table.mean(axis=1))
    print(f"\ntest accuracy, {name}, by seed:\n{table.round(3).to_string()}")


def run_experiment(name: str, preset: dict, seed: int) -> dict[str, float]:
    """Run one experiment beside the workspace; the test accuracy of each model."""
    changes = [f"{section}.{key}={value}" for section, values in preset.items() for key, value in values.items()]
    changes += [f"{section}.seed={seed}" for section in SEEDED]
    dvc = [sys.executable, "-m", "dvc"]
    settings = [word for change in changes for word in ("--set-param", change)]
    subprocess.run([*dvc, "exp", "run", "--temp", "--force", "--name", name, *settings], check=True)
    shown = subprocess.run([*dvc, "metrics", "diff", "--all", "--json", "HEAD", name], check=True, capture_output=True, text=True)
    metrics = json.loads(shown.stdout)
    return {model: metrics["metrics/accuracy.json"][model]["new"] for model in MODELS}


if __name__ == "__main__":
    main()
