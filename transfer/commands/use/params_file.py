"""Changes of single values in params.yaml that leave every other byte as it is."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import yaml
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write
from transfer.runtime.params import PARAMS_FILE

# Plain only where YAML 1.1 (PyYAML) and 1.2 (DVC's ruamel.yaml) certainly read the same text.
_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")

Value = str | int | float | bool | None


def edit_params(changes: Mapping[str, Value]) -> None:
    """Write values to params.yaml by `section.key` or `section.key.key`; comments and order stay.

    Raises:
        PipelineError: the file is missing, is no YAML, or does not have one of the keys.
    """
    text = edited(_read(), changes)
    with atomic_write(PARAMS_FILE) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def _read() -> str:
    try:
        return PARAMS_FILE.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise PipelineError(
            f"{PARAMS_FILE} is not in {Path.cwd()}; run from the project's folder"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{PARAMS_FILE} cannot be read: {error}; restore it from git") from None


def edited(text: str, changes: Mapping[str, Value]) -> str:
    """The text of params.yaml with other values; a comment behind one stays in its column if the
    value leaves room for it."""
    try:
        root = YAML(typ="rt").compose(text)
    except (YAMLError, ValueError) as error:
        raise PipelineError(f"{PARAMS_FILE} is not valid YAML: {error}") from None
    spans = [(*_span(root, key.split("."), key), value) for key, value in changes.items()]
    for start, end, value in sorted(spans, reverse=True):
        text = _replaced(text, start, end, rendered(value))
    return text


def _span(root: Node | None, keys: list[str], key: str) -> tuple[int, int]:
    """Where the value of a key begins and ends in the text."""
    node, after_key = root, 0
    for name in keys:
        children = (
            {child.value: (value, child.end_mark.index) for child, value in node.value}
            if isinstance(node, MappingNode)
            else {}
        )
        if name not in children:
            raise PipelineError(
                f"{PARAMS_FILE}: {key} is missing; restore it from params.yaml in git"
            )
        node, after_key = children[name]
    start, end = node.start_mark.index, node.end_mark.index
    # a value that is not there has its marks somewhere behind the colon
    return (start, end) if end > start else (after_key + 1, after_key + 1)


def _replaced(text: str, start: int, end: int, value: str) -> str:
    old = text[start:end]
    end -= len(old) - len(old.rstrip())  # of a block of lines the end is the next line
    if start == end:
        value = " " + value
    rest = text[end:]
    if comment := re.match(r"( {2,})#", rest):
        gap = len(comment[1]) - (len(value) - (end - start))
        rest = " " * max(gap, 3) + rest[len(comment[1]) :]
    return text[:start] + value + rest


def rendered(value: Value) -> str:
    """A value as YAML, in quotes unless every reader takes it for the same text without."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"  # PyYAML takes 3e-05 for text
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
