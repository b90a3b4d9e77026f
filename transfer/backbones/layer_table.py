"""The backbone's layers as the `weights` stage recorded them, for stages that do not build it."""

import json
from pathlib import Path

from transfer.backbones.registry import LAYERS
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError


def record_layers(backbone: keras.Model) -> list[dict]:
    """One row per layer: its name, its type and how many parameters it has."""
    return [
        {"name": layer.name, "type": type(layer).__name__, "parameters": layer.count_params()}
        for layer in backbone.layers
    ]


def describe_backbone(path: Path = LAYERS) -> str:
    """One line per layer of the backbone that has parameters, and their sum.

    Raises:
        PipelineError: the recorded table is missing or damaged.
    """
    if not path.exists():
        raise PipelineError(f"{path} is missing; run `dvc repro weights` or `dvc pull weights`")
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            (f"{layer['name']} ({layer['type']})", int(layer["parameters"]))
            for layer in recorded["layers"]
        ]
        name = str(recorded["name"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PipelineError(
            f"{path} has no table of layers ({error!r}); delete it and run `dvc repro weights`"
        ) from None
    lines = [f"{label:<40}{count:>14,}" for label, count in rows if count]
    total = sum(count for _, count in rows)
    return "\n".join([f"Backbone {name}, frozen:", *lines, f"{'parameters':<40}{total:>14,}"])
