"""How many labels `python -m transfer suggest` saves, on the features of a finished run.

    python -m benchmarks.suggestions --step 50

For each seed, 200 of the training and validation images are held out as whole groups. STEP of the
others have labels at first. A logistic regression on the bottleneck features (their mean over the
picture, scaled to a root mean square of 1) replaces the head. It is trained, STEP more images are
chosen and get their labels, and so on. `suggest` chooses like the command, `doubt` chooses the
images with the largest entropy, and `random` draws. Each seed is repeated with other first images.
The test split is not read, and no file is written.

Prints Markdown: the accuracy on the held-out images by the number of labels, and with how many
labels, in whole steps, each way reaches the accuracy of `random` with MOST labels. The last column
is the mean over all numbers of labels. In brackets are 95 % intervals over seeds, by Student's t.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from transfer.dataset.examples import read_examples
from transfer.dataset.manifest import read_manifest, split_rows
from transfer.features.pooling import pool
from transfer.inference.suggestions import choose, doubts
from transfer.storage.params import Shards

SPLITS = ("train", "validation")
HELD_OUT, MOST = 200, 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--step", type=int, default=50)
    options = parser.parse_args()
    sizes = range(options.step, MOST + 1, options.step)
    manifest = read_manifest()
    images = pd.concat([split_rows(manifest, split) for split in SPLITS], ignore_index=True)
    read = {
        kind: np.concatenate(
            [np.asarray(read_examples(manifest, split, kind, Shards()).inputs) for split in SPLITS]
        )
        for kind in ("features", "cut")
    }
    features = read["features"].mean(axis=(1, 2))
    features = features / np.sqrt((features**2).mean(axis=1, keepdims=True))
    vectors = pool(read["cut"])
    with threadpool_limits(1):
        accuracies = {
            name: np.stack(
                [
                    learning_curves(
                        strategy, features, vectors, images, sizes, seed, options.repeats
                    )
                    for seed in tqdm(range(options.seeds), desc=name)
                ]
            )
            for name, strategy in STRATEGIES.items()
        }
    table = pd.DataFrame(
        {name: curves.mean(axis=0) for name, curves in accuracies.items()}, index=sizes
    ).T
    print(f"\naccuracy by the number of labels, {options.seeds} seeds:\n")
    print(table.to_markdown(floatfmt=".3f"))
    print("\nlabels for the accuracy of `random` with all labels:\n")
    print(labels_needed(accuracies, sizes).to_markdown(index=False, floatfmt=".3g"))


class Candidates(NamedTuple):
    """N unlabelled images to choose from.

    probabilities: of the model, float (N, C). vectors: pooled activations, float32 (N, D).
    labelled: the same of the images with labels, float32 (M, D).
    """

    probabilities: np.ndarray
    vectors: np.ndarray
    labelled: np.ndarray


Strategy = Callable[[Candidates, int, np.random.Generator], Sequence[int]]
STRATEGIES: dict[str, Strategy] = {
    "random": lambda images, count, rng: rng.choice(len(images.vectors), count, replace=False),
    "doubt": lambda images, count, rng: np.argsort(-doubts(images.probabilities), kind="stable")[
        :count
    ],
    "suggest": lambda images, count, rng: choose(
        doubts(images.probabilities), images.vectors, images.labelled, count
    )[0],
}


def learning_curves(
    strategy: Strategy,
    features: np.ndarray,
    vectors: np.ndarray,
    images: pd.DataFrame,
    sizes: range,
    seed: int,
    repeats: int,
) -> np.ndarray:
    """The mean accuracy over repeats on the held-out images of a seed, by sizes: float64."""
    labels = images["label"].to_numpy()
    division = GroupShuffleSplit(1, test_size=HELD_OUT / len(images), random_state=seed)
    pool_rows, held_out = next(division.split(features, labels, images["group"]))
    curves = np.empty((repeats, len(sizes)))
    for repeat in range(repeats):
        known = np.random.default_rng([seed, repeat]).choice(pool_rows, sizes.start, replace=False)
        rng = np.random.default_rng([seed, repeat, 1])
        for column, size in enumerate(sizes):
            model = LogisticRegression(C=0.01, max_iter=300).fit(features[known], labels[known])
            curves[repeat, column] = model.score(features[held_out], labels[held_out])
            if size == sizes[-1]:
                break
            rest = np.setdiff1d(pool_rows, known)
            images_left = Candidates(
                model.predict_proba(features[rest]), vectors[rest], vectors[known]
            )
            chosen = strategy(images_left, sizes.step, rng)
            known = np.concatenate([known, rest[list(chosen)]])
    return curves.mean(axis=0)


def labels_needed(accuracies: dict[str, np.ndarray], sizes: range) -> pd.DataFrame:
    """For each strategy, with how many labels it reaches the final accuracy of `random`, for each
    seed and on average, and how much it gains.

    Args:
        accuracies: float (seeds, len(sizes)) by strategy. A strategy that never reaches the
            accuracy counts as needing MOST.
    """
    aims = accuracies["random"][:, -1]
    rows = []
    needed = {
        name: np.array(
            [
                next((size for size, value in zip(sizes, curve, strict=True) if value >= aim), MOST)
                for curve, aim in zip(curves, aims, strict=True)
            ]
        )
        for name, curves in accuracies.items()
    }
    for name, counts in needed.items():
        gained = (accuracies[name] - accuracies["random"]).mean(axis=1)
        rows.append(
            {
                "chosen by": name,
                "labels": counts.mean(),
                "of each seed": ", ".join(map(str, counts)),
                "fewer than random": mean_and_interval(needed["random"] - counts, ".0f"),
                "accuracy above random": mean_and_interval(gained, ".3f"),
            }
        )
    return pd.DataFrame(rows)


def mean_and_interval(values: np.ndarray, form: str) -> str:
    """The mean over seeds with its 95 % interval by Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    mean = values.mean()
    return f"{mean:{form}} ({mean - half:{form}} to {mean + half:{form}})"


if __name__ == "__main__":
    main()
