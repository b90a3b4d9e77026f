"""Method 1: train a dense head on clean bottleneck features."""

from transfer.backbones.network import build_backbone, freeze_below, stitch
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.head import build_head
from transfer.classifiers.saved import Classifier, growing_history, save_classifier
from transfer.compute.device import ComputeParams, configure_backend
from transfer.dataset.examples import read_examples
from transfer.dataset.manifest import class_names, read_manifest
from transfer.runtime.checkpoints import resumable
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import ArrayParams, Shards
from transfer.training.loop import HeadTrainingParams, compile_classifier, fit


class TrainHeadParams(HeadTrainingParams):
    pass


def main() -> None:
    params = load_params(TrainHeadParams, "train_head")
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    configure_backend(compute, params.seed, compute.threads)
    arrays, resources = (
        load_params(ArrayParams, "arrays"),
        load_params(ResourceParams, "resources"),
    )
    shards = Shards(resources.shards_url, arrays.window)
    manifest = read_manifest()
    train, validation = (
        read_examples(manifest, split, "features", shards) for split in ("train", "validation")
    )
    head = build_head(
        train.inputs.shape[1:],
        params.units,
        params.dropout,
        params.normalize,
        len(class_names(manifest)),
    )
    backbone = build_backbone(architecture.name, architecture.image_size)
    freeze_below(backbone, None)
    stitch(backbone, head, architecture).summary()
    compile_classifier(head, params)
    with resumable("train_head") as checkpoint, growing_history("head") as show:
        fitted = fit(
            head, lambda epoch: train.inputs, train.labels, validation, params, checkpoint, show
        )
        save_classifier(
            "head",
            Classifier(head, "features", class_names(manifest), fitted.epoch),
            fitted.history,
        )


if __name__ == "__main__":
    run_stage(main)
