"""The small reader of ONNX tensors gives what the package onnx gives."""

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError

from transfer.backbones.onnx_tensors import read_tensors


def model_of(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    return onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [], tensors))


def test_float_tensors_are_read_as_onnx_itself_reads_them():
    values = {
        "kernel": np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype("float32"),
        "bias": np.array([np.nan, -0.0, np.inf], "float32"),
        "scalar": np.array(1.5, "float32"),
    }
    model = model_of(
        *(onnx.numpy_helper.from_array(value, name) for name, value in values.items()),
        onnx.numpy_helper.from_array(np.arange(3), "shape"),  # int64 is left out
    )
    found = read_tensors(model.SerializeToString())
    assert found.keys() == values.keys()
    for tensor in model.graph.initializer[:3]:
        expected = onnx.numpy_helper.to_array(tensor)
        assert found[tensor.name].shape == expected.shape
        assert found[tensor.name].tobytes() == expected.tobytes()


def test_numbers_that_are_not_stored_as_raw_bytes_are_left_out():
    tensor = onnx.helper.make_tensor("listed", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    assert read_tensors(model_of(tensor).SerializeToString()) == {}


def test_a_file_that_is_cut_off_or_no_model_is_refused():
    content = model_of(onnx.numpy_helper.from_array(np.zeros(9, "float32"), "x"))
    with pytest.raises(DecodeError):
        read_tensors(content.SerializeToString()[:-7])


def test_bytes_that_do_not_fill_the_shape_are_refused():
    tensor = onnx.numpy_helper.from_array(np.zeros(9, "float32"), "x")
    tensor.raw_data = tensor.raw_data[:-4]
    with pytest.raises(ValueError, match="cannot reshape"):
        read_tensors(model_of(tensor).SerializeToString())
