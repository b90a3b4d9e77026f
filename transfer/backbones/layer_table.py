"""The backbone as the `weights` stage recorded it: its layers, for stages that do not build it, and
how to build a network that is not in the table."""

import json
from collections.abc import Callable
from typing import Any

from transfer.backbones.registry import LAYERS
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError

FUNCTIONAL = "Functional"  # the class of the user's own model: any graph of layers


def record_layers(backbone: keras.Model) -> list[dict]:
    """One row per layer: its name, its type and how many parameters it has."""
    return [
        {"name": layer.name, "type": type(layer).__name__, "parameters": layer.count_params()}
        for layer in backbone.layers
    ]


def describe_backbone() -> str:
    """One line per layer of the backbone that has parameters, and their sum.

    Raises:
        PipelineError: the recorded table is missing or damaged.
    """
    name, rows = _read_part(
        lambda recorded: (
            str(recorded["name"]),
            [
                (f"{layer['name']} ({layer['type']})", int(layer["parameters"]))
                for layer in recorded["layers"]
            ],
        ),
        "table of layers",
    )
    lines = [f"{label:<40}{count:>14,}" for label, count in rows if count]
    total = sum(count for _, count in rows)
    return "\n".join([f"Backbone {name}, frozen:", *lines, f"{'parameters':<40}{total:>14,}"])


def read_recorded() -> dict:
    """What the stage `weights` recorded of the user's own model or of a network of KerasHub.

    Returns:
        class_name: of KerasHub, or FUNCTIONAL.
        config: of that class.
        converter: `scale` and `offset`, which its image converter gives to pixels; None: it has
            none.

    Raises:
        PipelineError: the file is missing, damaged or of another backbone.
    """
    return _read_part(
        lambda recorded: {
            key: recorded["model"][key] for key in ("class_name", "config", "converter")
        },
        "preset of KerasHub and no model of your own",
    )


def _read_part(part: Callable[[Any], Any], named: str) -> Any:
    """A part of what LAYERS holds; `named` is its name in errors."""
    if not LAYERS.exists():
        raise PipelineError(f"{LAYERS} is missing; run `dvc repro weights` or `dvc pull weights`")
    try:
        return part(json.loads(LAYERS.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PipelineError(
            f"{LAYERS} has no {named} ({error!r}); delete it and run `dvc repro weights`"
        ) from None
