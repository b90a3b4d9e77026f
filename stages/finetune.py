"""Fine-tune the top of the backbone together with the augmented model's head, from the cached
activations at the cut."""

from typing import Self

from pydantic import model_validator

from transfer.backbones.network import freeze_below, load_backbone, stitch, trainable_tail
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.saved import load_classifier
from transfer.compute.device import ComputeParams, configure_backend
from transfer.compute.keras import keras
from transfer.dataset.examples import load_views, read_examples
from transfer.dataset.manifest import read_manifest
from transfer.runtime.instructions import allow_all_instructions
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import ArrayParams, Shards
from transfer.training.loop import ConvolutionTrainingParams, compile_classifier
from transfer.training.train_and_save import train_and_save
from transfer.training.unfreezing import UnfreezingParams, rates_by_epoch


class FinetuneParams(ConvolutionTrainingParams, UnfreezingParams):
    """The section `finetune`."""

    @model_validator(mode="after")
    def _opens_before_the_end(self) -> Self:
        if self.unfreeze and self.unfreeze[-1].epoch > self.epochs:
            last = self.unfreeze[-1]
            raise ValueError(
                f"unfreeze opens {last.from_layer} in epoch {last.epoch}, and epochs = "
                f"{self.epochs}; open it earlier"
            )
        return self


def main() -> None:
    """Train the top of the backbone together with the head of `train_augmented`."""
    params = load_params(FinetuneParams, "finetune")
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    if params.instructions == "all":
        allow_all_instructions()
    configure_backend(compute, params.seed, compute.threads)
    arrays = load_params(ArrayParams, "arrays")
    shards = Shards(load_params(ResourceParams, "resources").shards_url, arrays.window)
    manifest = read_manifest()
    views = load_views(manifest, "cut", shards)
    validation = read_examples(manifest, "validation", "cut", shards)
    backbone, augmented = load_backbone(architecture), load_classifier("augmented")
    freeze_below(backbone, architecture.unfreeze_from)
    stitch(backbone, augmented.model, architecture).summary()
    tail = trainable_tail(backbone, architecture.unfreeze_from)
    model = keras.Model(tail.input, augmented.model(tail.output), name="finetuned")
    rates = rates_by_epoch(model, tail, params)
    compile_classifier(model, params, by_layer=rates is not None)
    train_and_save(
        "finetune",
        "finetuned",
        model,
        "cut",
        augmented.class_names,
        lambda epoch: views.inputs[epoch % len(views.inputs)],
        views.labels,
        validation,
        params,
        rates,
        own_weights=views.weights,
    )


if __name__ == "__main__":
    run_stage(main)
