"""Loads the engine that params.yaml selects."""

from transfer.engines.base import Engine
from transfer.engines.local import LocalEngine
from transfer.runtime.dvc_files import packages_of, read_stage
from transfer.runtime.resource_params import ResourceParams


def load_engine(resources: ResourceParams, stage: str) -> Engine:
    """The engine of `resources.engine`, which no stage lists in dvc.yaml: another engine gives the
    same bytes, so nothing is run again.

    Args:
        resources: the section of params.yaml.
        stage: whose work it is; dvc.yaml has the packages that must be the same everywhere.
    """
    if resources.engine == "local":
        return LocalEngine()
    from transfer.cluster.ray_engine import RayEngine

    return RayEngine(resources, packages_of(read_stage(stage)))
