"""How arrays are kept: one `.npy` each under data/, or shards at a URL."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pydantic import PositiveInt

from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params
from transfer.storage.object_store import ObjectStore


class ArrayParams(Params):
    """The section `arrays`. shard_rows: rows of a shard. window: shards that a training holds and
    shuffles at a time."""

    format: Literal["npy", "shards"]
    shard_rows: PositiveInt
    window: PositiveInt


@dataclass(frozen=True)
class Shards:
    """The place of all shards; it is opened when the first array in shards is opened.

    url: `resources.shards_url`. window: shards that a training holds and shuffles at a time; other
        readers do not use it.
    """

    url: str | None = None
    window: int = 1

    @cached_property
    def store(self) -> ObjectStore:
        """The objects at the URL.

        Raises:
            PipelineError: no URL is given, or it is not one that a store can be opened at.
        """
        if not self.url:
            raise PipelineError(
                "params.yaml: resources.shards_url is not set, and shards (arrays.format = "
                "'shards') need it: for example s3://bucket/prefix, or the absolute path of a "
                "folder that all machines can read"
            )
        return ObjectStore(self.url, "resources.shards_url")


@dataclass(frozen=True)
class ArrayFormat:
    """How new arrays are written: `arrays.format`, `arrays.shard_rows`, and the place of shards."""

    form: Literal["npy", "shards"] = "npy"
    shard_rows: int = 1024
    shards: Shards = field(default_factory=Shards)
