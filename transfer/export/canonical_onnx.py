"""Gives an ONNX graph canonical names and order, because those of tf2onnx depend on memory
addresses and differ between processes."""

from collections.abc import Iterator

import onnx


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation in the same bytes, whatever order and names the converter gave.

    Nodes are ordered depth first from the outputs, and tensors are numbered in that order. Inputs
    and outputs of the graph keep their names; what no output needs is left out. Graphs inside nodes
    (loops, conditions) are not supported.

    Raises:
        ValueError: there is one.
    """
    graph = model.graph
    if any(
        attribute.HasField("g") or attribute.graphs
        for node in graph.node
        for attribute in node.attribute
    ):
        raise ValueError("a node holds a graph of its own, whose names would stay as they are")
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept = {value.name: value.name for value in [*graph.input, *graph.output]}
    names, nodes, tensors = {"": "", **kept}, [], []
    for kind, found in _needed([output.name for output in graph.output], makers, constants):
        if kind == "constant":
            names.setdefault(found.name, f"constant_{len(tensors)}")
            tensors.append(found)
        else:
            names |= {
                name: f"{found.op_type.lower()}_{len(nodes)}_{place}"
                for place, name in enumerate(found.output)
                if name not in names
            }
            nodes.append(found)
    ordered = onnx.ModelProto()
    ordered.CopyFrom(model)
    for field in ("node", "initializer", "value_info"):
        ordered.graph.ClearField(field)
    ordered.graph.node.extend(_renamed(node, place, names) for place, node in enumerate(nodes))
    for tensor in tensors:
        ordered.graph.initializer.add().CopyFrom(tensor)
        ordered.graph.initializer[-1].name = names[tensor.name]
    ordered.graph.name, ordered.graph.doc_string = "classifier", ""
    return ordered


def _needed(
    outputs: list[str], makers: dict, constants: dict
) -> Iterator[tuple[str, onnx.NodeProto | onnx.TensorProto]]:
    """Each node and constant once, after everything that it needs. Without recursion, because a
    network is deeper than Python's stack."""
    done, pending = set(), [(name, False) for name in reversed(outputs)]
    while pending:
        name, is_ready = pending.pop()
        if name in done:
            continue
        if name in constants:
            done.add(name)
            yield "constant", constants[name]
        elif is_ready:
            done.update(makers[name].output)
            yield "node", makers[name]
        elif name in makers:
            pending.append((name, True))
            pending += [(needed, False) for needed in reversed(makers[name].input)]


def _renamed(node: onnx.NodeProto, place: int, names: dict[str, str]) -> onnx.NodeProto:
    renamed = onnx.NodeProto(
        op_type=node.op_type, domain=node.domain, name=f"{node.op_type.lower()}_{place}"
    )
    renamed.input.extend(names[name] for name in node.input)
    renamed.output.extend(names[name] for name in node.output)
    renamed.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
    return renamed
