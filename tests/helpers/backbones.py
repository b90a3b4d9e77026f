"""The section `backbone` of params.yaml for tests."""

from pathlib import Path

from transfer.backbones.registry import BackboneParams


def backbone_params(name: str | Path, **changes) -> BackboneParams:
    """The backbone of this name, with what null stands for unless it is changed."""
    values = {"image_size": None, "preprocessing": "imagenet", "unfreeze_from": None}
    return BackboneParams(name=str(name), **values | changes)
