"""The engine that params.yaml names."""

from transfer.compute_params import ComputeParams
from transfer.engines.engine import Engine
from transfer.engines.local import LocalEngine
from transfer.inputs import describe_stage, packages_of
from transfer.params import load_params


def load_engine(stage: str) -> Engine:
    """By `compute.engine`. It is no parameter of any stage in dvc.yaml: another engine gives the same bytes, so nothing is run again.

    Args:
        stage: whose work it is; dvc.yaml has the packages that must be the same everywhere.
    """
    params = load_params(ComputeParams, "compute")
    if params.engine == "local":
        return LocalEngine()
    from transfer.engines.ray_engine import RayEngine

    return RayEngine(params, packages_of(describe_stage(stage)))
