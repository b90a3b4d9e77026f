"""Reads the tensors of an ONNX file with protobuf, which TensorFlow brings: the package `onnx`
would be 31 MB for these few fields."""

import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

FLOAT = 1  # TensorProto.DataType of onnx.proto
# The fields of onnx.proto that are read, by message: name, number, type, whether it is repeated.
_MESSAGES = {
    "Model": [("graph", 7, "Graph", False)],
    "Graph": [("initializer", 5, "Tensor", True)],
    "Tensor": [
        ("dims", 1, FieldDescriptorProto.TYPE_INT64, True),
        ("data_type", 2, FieldDescriptorProto.TYPE_INT32, False),
        ("name", 8, FieldDescriptorProto.TYPE_STRING, False),
        ("raw_data", 9, FieldDescriptorProto.TYPE_BYTES, False),
    ],
}


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """The float32 tensors that a model holds as raw bytes, by name; other tensors are left out.

    Args:
        content: an ONNX file.

    Raises:
        google.protobuf.message.DecodeError: it is not one, or is cut off.
        ValueError: a tensor's bytes do not fill its shape.
    """
    model = _model_class().FromString(content)
    return {
        tensor.name: np.frombuffer(tensor.raw_data, "<f4").reshape(tuple(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.data_type == FLOAT and tensor.raw_data
    }


def _model_class() -> type:
    """The message class of a model, in a separate pool, because `onnx` may be loaded too."""
    file = FileDescriptorProto(name="tensors.proto", package="tensors", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, is_repeated in fields:
            added = message.field.add(name=field, number=number)
            added.label = (
                FieldDescriptorProto.LABEL_REPEATED
                if is_repeated
                else FieldDescriptorProto.LABEL_OPTIONAL
            )
            if isinstance(kind, str):
                added.type, added.type_name = (
                    FieldDescriptorProto.TYPE_MESSAGE,
                    f".tensors.{kind}",
                )
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensors.Model"))
