"""The engine that params.yaml names."""

from transfer.compute_params import ComputeParams
from transfer.engines.engine import Engine
from transfer.engines.local import LocalEngine
from transfer.params import load_params


def load_engine() -> Engine:
    """By `compute.engine`. It is no parameter of any stage in dvc.yaml: another engine gives the same bytes, so nothing is run again."""
    params = load_params(ComputeParams, "compute")
    if params.engine == "local":
        return LocalEngine()
    from transfer.engines.ray_engine import RayEngine

    return RayEngine(params)
