"""The section `compute` of params.yaml: how numbers are computed. It decides the last bits of the
outputs."""

from typing import Literal

from pydantic import PositiveInt

from transfer.runtime.params import Params


class ComputeParams(Params):
    """Threads, device, precision and number of GPUs; params.yaml explains each key."""

    threads: PositiveInt
    device: Literal["auto", "cpu", "gpu"]
    precision: Literal["float32", "bfloat16", "float16"]
    gpus: PositiveInt = 1
