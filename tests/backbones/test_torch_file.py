"""Reading a PyTorch file: its tensors to the bit, and nothing of what else it asks for."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.backbones.torch_files import MACHINE, MAGIC, PROTOCOL, Saved, torch_file
from transfer.backbones.torch_file import TorchFileError, read_tensors

TENSORS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn.bias": np.array([-1.5, 0.25], np.float32),
    "bn.num_batches_tracked": np.array(7, np.int64),
}


def error_of(content: bytes) -> str:
    with pytest.raises(TorchFileError) as caught:
        read_tensors(content)
    return str(caught.value)


def test_tensors_come_with_their_names_shapes_types_and_values():
    found = read_tensors(torch_file(TENSORS))
    assert list(found) == list(TENSORS)
    for name, expected in TENSORS.items():
        assert found[name].dtype == expected.dtype
        assert np.array_equal(found[name], expected) and found[name].shape == expected.shape


def test_a_transposed_tensor_and_one_that_shares_a_storage_are_read_as_they_are():
    numbers = np.arange(12, dtype=np.float32)
    state = {
        "transposed": Saved(numbers, "a", offset=0, shape=(4, 3), strides=(1, 4)),
        "part": Saved(numbers, "a", offset=5, shape=(2,), strides=(3,)),
    }
    found = read_tensors(torch_file(state))
    assert np.array_equal(found["transposed"], numbers.reshape(3, 4).T)
    assert found["part"].tolist() == [5, 8]


class Asking:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self) -> tuple:
        return self._call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.mkdir, ("made",), "posix.mkdir"),
        (eval, ("__import__('os').mkdir('made')",), "__builtin__.eval"),
    ],
)
def test_any_other_name_is_refused_and_nothing_is_run(
    function, arguments, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Asking(function, *arguments), protocol=2))
    Path("made").rmdir()  # a reader that trusts the file has made it
    message = error_of(torch_file({"x": Asking(function, *arguments)}))
    assert message.startswith(f"it asks for {name}, which")
    assert message.endswith("not loaded, for safety")
    assert not Path("made").exists()


@pytest.mark.parametrize("module", ["torch", "torch._utils", "collections"])
def test_other_names_of_the_known_modules_are_refused_too(module):
    header = b"".join(pickle.dumps(each, 2) for each in (MAGIC, PROTOCOL, MACHINE))
    content = header + f"\x80\x02c{module}\nload\n.".encode("latin-1")
    assert f"it asks for {module}.load" in error_of(content)


def test_reading_imports_neither_torch_nor_keras():
    code = (
        "import io, sys; from transfer.backbones.torch_file import read_tensors\n"
        "print(list(read_tensors(sys.stdin.buffer.read())), "
        "{'torch', 'keras', 'tensorflow'} & {*sys.modules})"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        input=torch_file(TENSORS),
        capture_output=True,
        check=True,
    )
    assert finished.stdout.decode().strip() == f"{list(TENSORS)} set()"


def test_a_file_cut_short_anywhere_is_refused():
    content = torch_file(TENSORS)
    for length in range(len(content)):
        error_of(content[:length])
    assert "it ends in the middle of a tensor" in error_of(content[:-1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 and so on", "zip format of PyTorch 1.6 and later"),
        (b"no pickle", "damaged or not a file of tensors"),
        (pickle.dumps(1, 2) + pickle.dumps(PROTOCOL, 2), "not a file of torch.save"),
        (pickle.dumps(MAGIC, 2) + pickle.dumps(1002, 2), "not a file of torch.save"),
        (
            b"".join(
                pickle.dumps(each, 2)
                for each in (MAGIC, PROTOCOL, MACHINE | {"little_endian": False}, {}, [])
            ),
            "big-endian",
        ),
        (torch_file({"x": "no tensor"}), "damaged or not a file of tensors"),
        (
            torch_file({"x": np.zeros(3, np.float32)}, sizes={"key x": 2}),
            "storage key x has 2 elements where 3 were announced",
        ),
        (
            torch_file({"x": Saved(np.zeros(3, np.float32), "a", offset=1)}),
            "tensor x does not lie within its storage",
        ),
        (
            torch_file({"x": Saved(np.zeros(3, np.float32), "a", offset=-1)}),
            "tensor x does not lie within its storage",
        ),
        (
            torch_file({"x": Saved(np.zeros(3, np.float32), "a", shape=(10**9,), strides=(0,))}),
            "tensor x does not lie within its storage",
        ),
    ],
)
def test_other_files_are_refused_with_the_reason(content, words):
    assert words in error_of(content)


def test_what_a_file_does_to_a_name_does_not_outlast_its_reading():
    """A pickle may set attributes of the objects that its names stand for."""
    state = io.BytesIO()
    state.write(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n")
    state.write(b"N}X\x0c\x00\x00\x00__defaults__)s\x86b0}.")
    content = b"".join(pickle.dumps(each, 2) for each in (MAGIC, PROTOCOL, MACHINE))
    content += state.getvalue() + pickle.dumps([], 2)
    assert read_tensors(content) == {}
    assert np.array_equal(read_tensors(torch_file(TENSORS))["bn.bias"], TENSORS["bn.bias"])
