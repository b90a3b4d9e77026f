"""Damaged files of published weights end in tensors or in the readers' own errors, and take no more
memory than the file explains."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backbones.torch_files import torch_file
from tests.fuzz.mutations import mutated
from transfer.backbones.torch_file import TorchFileError, read_tensors
from transfer.runtime.errors import PipelineError

FILE = torch_file(
    {
        "_conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
        "_bn.bias": np.array([-1.5, 0.25], np.float32),
        "_bn.num_batches_tracked": np.array(7, np.int64),
    }
)
# Opcodes of a pickle that call, look up, remember and build
OPCODES = st.sampled_from([b"R", b"c", b"r", b"q", b"j", b"b", b"\x81", b"\x93", b"2", b"(", b"t"])


def read(content: bytes) -> dict[str, np.ndarray]:
    try:
        return read_tensors(content)
    except TorchFileError as error:
        raise PipelineError(str(error)) from None


def check_tensors(guard, name: str, content: bytes) -> None:
    tracemalloc.start()
    found = guard(name, content, lambda: read(content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    for key, tensor in (found or {}).items():
        assert isinstance(key, str)
        assert tensor.dtype in (np.float32, np.int64)
        assert tensor.nbytes <= len(content)


@given(mutated([FILE]))
def test_a_damaged_pth_is_tensors_or_refused(guard, content):
    check_tensors(guard, "weights .pth", content)


@given(st.integers(0, len(FILE) - 1), OPCODES, st.binary(max_size=8))
def test_a_pth_of_other_opcodes_is_tensors_or_refused(guard, place, opcode, argument):
    content = FILE[:place] + opcode + argument + FILE[place + 1 :]
    check_tensors(guard, "weights .pth, opcodes", content)


@pytest.mark.parametrize("opcode", [b"r", b"j"])
def test_a_number_that_a_pickle_remembers_takes_no_memory(guard, opcode):
    for number in (0x01FFFFFF, 0x7FFFFFFF):
        content = b"\x80\x02N" + opcode + number.to_bytes(4, "little") + b"." + FILE
        check_tensors(guard, "weights .pth, opcodes", content)
