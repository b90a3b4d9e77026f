"""Export the best network as SavedModel, ONNX and LiteRT, and compare each file with Keras's.

Each takes RGB images of any size, uint8 (B, height, width, 3), and gives calibrated probabilities,
float32 (B, classes): resizing, preprocessing, class names and a version are inside. Its own runtime
then runs it on the test images (or the validation images, if there are no test images), stretched
to several sizes. With unchanged weights, labels must be equal and probabilities within 1e-4; with
smaller weights, the accuracy may fall by `max_accuracy_drop`. All files compute in float32,
whatever the precision of the training.
"""

import os
import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from transfer.backbones.registry import BackboneParams, describe_weights_license
from transfer.classifiers.names import NEIGHBOURS, NETWORKS, PROBE
from transfer.export.formats import FORMATS
from transfer.runtime.files import write_json
from transfer.runtime.params import Params, load_param, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.params import Shards

EXPORT = Path("deploy/export")


class ExportParams(Params):
    """model: a name, or the network whose kept epoch has the lowest validation loss. The nearest
    neighbours are no network, and cannot be exported.
    max_accuracy_drop: share of the scored images."""

    model: Literal["best", *NETWORKS, PROBE]
    formats: list[Literal[*FORMATS]]
    max_accuracy_drop: float = Field(ge=0, lt=1)

    @field_validator("model", mode="before")
    @classmethod
    def _is_a_network(cls, model: object) -> object:
        if model == NEIGHBOURS:
            raise ValueError(
                "it is a list of training images and no network, and cannot be exported; choose "
                f"best, {', '.join(NETWORKS)} or {PROBE}"
            )
        return model

    @field_validator("formats")
    @classmethod
    def _are_different(cls, formats: list[str]) -> list[str]:
        if len({*formats}) < len(formats):
            raise ValueError("one of them is listed twice; name each once")
        return formats


def main() -> None:
    """Write the chosen model in each format, and compare what each computes."""
    params = load_params(ExportParams, "export")
    if not params.formats:
        shutil.rmtree(EXPORT, ignore_errors=True)
        write_json(EXPORT / "export.json", {"model": None, "files": []})
        return
    # The converters are TensorFlow's, whatever backend trained. Loading it takes seconds, for which
    # an empty list of formats should not wait.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from transfer.compute.device import ComputeParams, configure_backend
    from transfer.export.export import export

    compute = load_params(ComputeParams, "compute").model_copy(update={"precision": "float32"})
    configure_backend(compute, seed=0, threads=compute.threads)
    architecture = load_params(BackboneParams, "backbone")
    interpolation = load_param(str, "decode.interpolation")
    shards = Shards(load_params(ResourceParams, "resources").shards_url)
    weights_license = describe_weights_license(
        architecture.name,
        load_param(str, "weights.source"),
        load_param(str | None, "weights.path"),
    )
    table = export(
        params.model,
        params.formats,
        EXPORT,
        params.max_accuracy_drop,
        architecture,
        interpolation,
        shards,
        weights_license,
    )
    print(table.to_string(index=False))


if __name__ == "__main__":
    run_stage(main)
