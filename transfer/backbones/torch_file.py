"""Reads the tensors of a PyTorch file (.pth) without PyTorch and without running what it names."""

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any

import numpy as np

# The file of torch.save before version 1.6: five pickles, then for each storage the number of its
# elements and their bytes.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_ELEMENT_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class TorchFileError(Exception):
    """Why the tensors of a file cannot be read."""


@dataclass(frozen=True)
class _Storage:
    key: str
    element_type: str
    size: int


@dataclass(frozen=True)
class _StoredTensor:
    """The place of a tensor in its storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle._Unpickler):  # noqa: S301, SLF001, no name is looked up or imported
    """Knows the four names of a file of tensors and refuses every other.

    The one in Python: that in C allocates gigabytes for a large number of a remembered value.

    Each name maps to a value that is made for this file alone, so that nothing the file does to it
    outlives the reading.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _StoredTensor(
                storage, offset, shape, strides
            )
        if module == "torch" and name in _ELEMENT_TYPES:
            return _ELEMENT_TYPES[name]
        raise TorchFileError(
            f"it asks for {module}.{name}, which a file of tensors has no use for and which is not "
            "loaded, for safety"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, element_type, key, _device, size, view = pid
        if kind != "storage" or view is not None:
            raise TorchFileError("it has a storage of an unknown kind")
        return _Storage(key, element_type, size)


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """Read a state dict that `torch.save` wrote before PyTorch 1.6.

    Compare the file's checksum with a known one before you call this: pickle is not made for
    untrusted files, even if it runs no code.

    Returns:
        Tensors by name, in the order of the file: float32 or int64.

    Raises:
        TorchFileError: the file is damaged, has another format, names anything but tensors, or has
            a tensor that is not within its storage.
    """
    if content.startswith(b"PK"):
        raise TorchFileError(
            "it is in the zip format of PyTorch 1.6 and later; save it with torch.save(..., "
            "_use_new_zipfile_serialization=False)"
        )
    file = BytesIO(content)
    try:
        if [_Unpickler(file).load() for _ in range(2)] != [_MAGIC, _PROTOCOL]:
            raise TorchFileError("it is not a file of torch.save")
        machine, state, keys = (_Unpickler(file).load() for _ in range(3))
        if machine["little_endian"] is not True:
            raise TorchFileError("it was written on a big-endian machine")
        stored = dict(state.items())
        storages = _read_storages(file, stored, keys)
        return {str(name): _tensor(name, each, storages) for name, each in stored.items()}
    except TorchFileError:
        raise
    except Exception as error:  # pickle raises many exception types on damaged bytes
        raise TorchFileError(
            f"it is damaged or not a file of tensors ({type(error).__name__}: {error})"
        ) from None


def _read_storages(
    file: BytesIO, stored: dict[str, _StoredTensor], keys: list[str]
) -> dict[str, np.ndarray]:
    """The elements of each storage, in the order in which the file lists their keys."""
    by_key = {each.storage.key: each.storage for each in stored.values()}
    storages = {}
    for key in keys:
        (size,) = np.frombuffer(file.read(8), "<i8")
        element_type = np.dtype(by_key[key].element_type)
        if size != by_key[key].size or size < 0:
            raise TorchFileError(
                f"storage {key} has {size} elements where {by_key[key].size} were announced"
            )
        content = file.read(int(size) * element_type.itemsize)
        if len(content) != size * element_type.itemsize:
            raise TorchFileError("it ends in the middle of a tensor; copy the file again")
        storages[key] = np.frombuffer(content, element_type)
    return storages


def _tensor(name: str, stored: _StoredTensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    elements = storages[stored.storage.key]
    offset, shape, strides = stored.offset, stored.shape, stored.strides
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if min(offset, *shape, *strides, 0) < 0 or prod(shape) > len(elements) or last >= len(elements):
        raise TorchFileError(f"tensor {name} does not lie within its storage")
    return np.lib.stride_tricks.as_strided(
        elements[offset:], shape, [stride * elements.itemsize for stride in strides]
    ).copy()
