"""The section `resources` of params.yaml: where the work is done, and with what. It changes no byte
of any output, so no stage lists it."""

import re
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from transfer.runtime.params import Params


class ResourceParams(Params):
    """Engine, cluster, row cache and place of the shards; params.yaml explains each key."""

    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    worker_cpus: PositiveInt = 1
    retries: NonNegativeInt = 2
    timeout: PositiveFloat = 60
    cache_gigabytes: NonNegativeFloat = 20
    shards_url: str | None = None

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"[^/\s]+:\d+", address):
            raise ValueError("host:port was expected, for example 10.0.0.1:6379")
        return address
