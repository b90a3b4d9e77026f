"""Method 1: train a dense head on clean bottleneck features."""

from transfer.backbone import build_backbone, freeze_below, stitch
from transfer.backbones import BackboneParams
from transfer.checkpoints import resumable
from transfer.classifier import Classifier, growing_history, save_classifier
from transfer.compute import ComputeParams, set_up
from transfer.door import run
from transfer.examples import read_examples
from transfer.head import build_head
from transfer.manifest import class_names, read_manifest
from transfer.params import load_params
from transfer.training import HeadTrainingParams, compile_classifier, fit


class TrainHeadParams(HeadTrainingParams):
    pass


def main() -> None:
    params = load_params(TrainHeadParams, "train_head")
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    set_up(compute, params.seed, compute.threads)
    manifest = read_manifest()
    train, validation = (read_examples(manifest, split, "features") for split in ("train", "validation"))
    head = build_head(train.inputs.shape[1:], params.units, params.dropout, params.normalize, len(class_names(manifest)))
    backbone = build_backbone(architecture.name, architecture.image_size)
    freeze_below(backbone, None)
    stitch(backbone, head, architecture).summary()
    compile_classifier(head, params)
    with resumable("train_head") as checkpoint, growing_history("head") as show:
        fitted = fit(head, lambda epoch: train.inputs, train.labels, validation, params, checkpoint, show)
        save_classifier("head", Classifier(head, "features", class_names(manifest), fitted.epoch), fitted.history)


if __name__ == "__main__":
    run(main)
