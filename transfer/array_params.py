"""How arrays are kept: one `.npy` each under data/, or shards at a URL."""

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from transfer.params import Params, load_params
from transfer.stores import Store


class ArrayParams(Params):
    """shard_rows: of a shard. window: shards that a training holds and shuffles at a time."""

    format: Literal["npy", "shards"]
    shard_rows: PositiveInt
    url: str | None
    window: PositiveInt

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.format == "shards" and not self.url:
            raise ValueError(
                "format = 'shards' needs a url: s3://bucket/prefix say, or the absolute path of a folder that all machines see"
            )
        return self

    @property
    def store(self) -> Store:
        return Store(self.url, "arrays.url")


def load_array_params() -> ArrayParams:
    """The section `arrays`. A stage lists of it in dvc.yaml what decides its bytes: where shards lie does not."""
    return load_params(ArrayParams, "arrays")
