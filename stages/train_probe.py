"""A baseline, the linear probe: a logistic regression on the frozen features, by scikit-learn."""

from pydantic import PositiveFloat
from threadpoolctl import threadpool_limits

from transfer.classifiers.baselines import score_settings
from transfer.classifiers.description import save_skipped
from transfer.classifiers.names import PROBE
from transfer.classifiers.probe import fit_probe, save_probe
from transfer.dataset.examples import read_examples
from transfer.dataset.manifest import class_names, read_manifest
from transfer.features.pooling import read_means
from transfer.runtime.params import Params, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import Shards


class TrainProbeParams(Params):
    """strengths: scikit-learn's C; the one with the lowest validation loss is kept."""

    strengths: list[PositiveFloat]


def main() -> None:
    """Fit a logistic regression for each strength, and save the best by validation."""
    params = load_params(TrainProbeParams, "train_probe")
    if not params.strengths:
        save_skipped(PROBE, "train_probe.strengths is empty")
        return
    shards = Shards(load_params(ResourceParams, "resources").shards_url)
    manifest = read_manifest()
    names = class_names(manifest)
    train, validation = (
        read_examples(manifest, split, "features", shards) for split in ("train", "validation")
    )
    means, validation_means = (
        read_means(manifest, split, "features", shards) for split in ("train", "validation")
    )
    with threadpool_limits(1):  # more threads would change the last bits of the sums
        probes = [
            fit_probe(means, train.labels, train.weights, strength, len(names))
            for strength in params.strengths
        ]
        logits = [probe.logits(validation_means) for probe in probes]
    choices = score_settings("strength", params.strengths, logits, validation.labels)
    best = int(choices["val_loss"].argmin())
    save_probe(probes[best], train.inputs.shape[1:], names, params.strengths[best], choices)
    print(choices.round(4).to_string(index=False))


if __name__ == "__main__":
    run_stage(main)
