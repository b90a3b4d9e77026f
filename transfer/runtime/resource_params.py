"""The section `resources` of params.yaml: where the work is done, and with what. It changes no byte
of any output, so no stage lists it."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from transfer.runtime.params import Params


class ResourceParams(Params):
    """Engine, cluster, row cache and place of the shards; params.yaml explains each key."""

    engine: Literal["local", "ray"] = "local"
    address: str | None = Field(default=None, pattern=r"^[^/\s]+:\d+$")
    worker_cpus: PositiveInt = 1
    retries: NonNegativeInt = 2
    timeout: PositiveFloat = 60
    cache_gigabytes: NonNegativeFloat = 20
    shards_url: str | None = None
