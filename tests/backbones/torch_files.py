"""Writes files as `torch.save` wrote them before PyTorch 1.6, without PyTorch."""

import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np

from transfer.backbones.efficientnet_lite import tensor_shapes

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}


class FloatStorage:
    """Stands for torch.FloatStorage."""


class LongStorage:
    """Stands for torch.LongStorage."""


def _rebuild_tensor_v2(*_: Any) -> None:
    """Stands for torch._utils._rebuild_tensor_v2."""


class Saved:
    """An array as a tensor of its own storage, or of a part of one."""

    def __init__(self, values: np.ndarray, key: str, offset: int = 0, shape=None, strides=None):
        contiguous = [stride // values.itemsize for stride in values.strides]
        self.values, self.key = np.ascontiguousarray(values), key
        self.place = (
            offset,
            values.shape if shape is None else shape,
            tuple(contiguous if strides is None else strides),
        )

    def __reduce__(self) -> tuple:
        return _rebuild_tensor_v2, (self, *self.place, False, OrderedDict())


class _Pickler(pickle.Pickler):
    """The tensor itself is pickled as how to rebuild it, its storage by its key."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file, protocol=2)
        self._rebuilding: set[int] = set()

    def persistent_id(self, obj: Any) -> tuple | None:
        if not isinstance(obj, Saved):
            return None
        if id(obj) not in self._rebuilding:
            self._rebuilding.add(id(obj))
            return None
        storage = FloatStorage if obj.values.dtype == np.float32 else LongStorage
        return "storage", storage, obj.key, "cpu", obj.values.size, None


def torch_file(state: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> bytes:
    """The bytes of a file of these tensors.

    Args:
        state: arrays or `Saved` by name; anything else is pickled as it is.
        sizes: what the file says of the number of a storage's elements, where that is not true.
    """
    saved = OrderedDict(
        (name, Saved(value, f"key {name}") if isinstance(value, np.ndarray) else value)
        for name, value in state.items()
    )
    storages = {each.key: each.values for each in saved.values() if isinstance(each, Saved)}
    file = io.BytesIO()
    with _torch_modules():
        for content in (MAGIC, PROTOCOL, MACHINE, saved, list(storages)):
            _Pickler(file).dump(content)
    for key, values in storages.items():
        file.write(np.array((sizes or {}).get(key, values.size), "<i8").tobytes())
        file.write(values.tobytes())
    return file.getvalue()


def _torch_modules() -> mock._patch_dict:
    """Let the stand-ins be pickled under the names that they have in PyTorch."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for module, each in ((torch, FloatStorage), (torch, LongStorage), (utils, _rebuild_tensor_v2)):
        each.__module__ = module.__name__
        setattr(module, each.__name__, each)
    return mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils})


def random_tensors(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors as the published file of an EfficientNet-Lite has them, with random values under
    which an image still matters at the top."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for tensor, shape in tensor_shapes(name).items():
        if tensor.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            values = rng.normal(tensor.endswith(".weight"), 0.2, shape)
        tensors[tensor] = values.astype(np.float32)
    counted = {
        tensor.replace("running_mean", "num_batches_tracked"): np.array(8, np.int64)
        for tensor in tensors
        if tensor.endswith("running_mean")
    }
    return tensors | counted
