"""The section `compute` of params.yaml."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from transfer.params import Params

PLACE = ("engine", "address", "worker_cpus", "retries", "patience")  # decide where, and no byte of what comes out


class ComputeParams(Params):
    """How to compute, which decides the last bits: threads, device, precision, gpus. And where, which decides none of them: PLACE."""

    threads: PositiveInt
    device: Literal["auto", "cpu", "gpu"]
    precision: Literal["float32", "bfloat16", "float16"]
    gpus: PositiveInt = 1
    engine: Literal["local", "ray"] = "local"
    address: str | None = Field(default=None, pattern=r"^[^/\s]+:\d+$")
    worker_cpus: PositiveInt = 1
    retries: NonNegativeInt = 2
    patience: PositiveFloat = 60
