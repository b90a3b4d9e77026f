"""Method 2: train a head behind the frozen base on augmented views, epoch e on view e mod V."""

from transfer.backbones.network import build_backbone, freeze_below, stitch
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.head import build_head
from transfer.classifiers.saved import Classifier, growing_history, save_classifier
from transfer.compute.device import ComputeParams, configure_backend
from transfer.dataset.examples import load_views, read_examples
from transfer.dataset.manifest import class_names, read_manifest
from transfer.runtime.checkpoints import resumable
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import ArrayParams, Shards
from transfer.training.loop import HeadTrainingParams, compile_classifier, fit


class TrainAugmentedParams(HeadTrainingParams):
    pass


def main() -> None:
    params = load_params(TrainAugmentedParams, "train_augmented")
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    configure_backend(compute, params.seed, compute.threads)
    arrays, resources = (
        load_params(ArrayParams, "arrays"),
        load_params(ResourceParams, "resources"),
    )
    shards = Shards(resources.shards_url, arrays.window)
    manifest = read_manifest()
    views, validation = (
        load_views(manifest, "features", shards),
        read_examples(manifest, "validation", "features", shards),
    )
    head = build_head(
        views.inputs.shape[2:],
        params.units,
        params.dropout,
        params.normalize,
        len(class_names(manifest)),
    )
    backbone = build_backbone(architecture.name, architecture.image_size)
    freeze_below(backbone, None)
    stitch(backbone, head, architecture).summary()
    compile_classifier(head, params)
    with resumable("train_augmented") as checkpoint, growing_history("augmented") as show:
        fitted = fit(
            head,
            lambda epoch: views.inputs[epoch % len(views.inputs)],
            views.labels,
            validation,
            params,
            checkpoint,
            show,
        )
        save_classifier(
            "augmented",
            Classifier(head, "features", class_names(manifest), fitted.epoch),
            fitted.history,
        )


if __name__ == "__main__":
    run_stage(main)
