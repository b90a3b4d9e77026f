"""How arrays are kept: one `.npy` each under data/, or shards at a URL."""

from typing import Literal

from pydantic import PositiveInt

from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.storage.object_store import ObjectStore


class ArrayParams(Params):
    """shard_rows: of a shard. window: shards that a training holds and shuffles at a time."""

    format: Literal["npy", "shards"]
    shard_rows: PositiveInt
    window: PositiveInt


def load_array_params() -> ArrayParams:
    """The section `arrays`; raises PipelineError as `load_params`."""
    return load_params(ArrayParams, "arrays")


def open_shard_store() -> ObjectStore:
    """The place of all shards, `resources.shards_url`.

    Raises:
        PipelineError: no URL is given, or it is not one that a store can be opened at.
    """
    url = load_params(ResourceParams, "resources").shards_url
    if not url:
        raise PipelineError(
            "params.yaml: resources.shards_url is not set, and shards (arrays.format = 'shards') "
            "need it: s3://bucket/prefix, say, or the absolute path of a folder that all machines "
            "see"
        )
    return ObjectStore(url, "resources.shards_url")
