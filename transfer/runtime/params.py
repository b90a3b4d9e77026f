"""Typed parameters: one pydantic class per section of params.yaml, checked when a stage starts."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from transfer.runtime.errors import PipelineError
from transfer.runtime.yaml_text import parse_yaml

PARAMS_FILE = Path("params.yaml")

# A few lines of YAML aliases can expand to more text than fits in memory.
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 2, 200, 200


class Params(BaseModel):
    """Base of every section: frozen, and an unknown key is an error.

    Pydantic's lax mode is used on purpose: `dvc exp run -S x=0.00001` writes `1e-05`, which YAML
    1.1 reads as a string; pydantic makes it the float that was meant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


P = TypeVar("P", bound=Params)


def load_params(kind: type[P], section: str, path: Path = PARAMS_FILE) -> P:
    """Read one section of params.yaml as `kind`.

    Raises:
        PipelineError: the file or section is missing, is not YAML, or a value does not fit; every
            problem is named with its key and value.
    """
    content = _read_section(section, path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise PipelineError(_explain(error, section, content, path)) from None


def load_param(kind: Any, key: str, path: Path = PARAMS_FILE) -> Any:
    """Read one value of another stage's section, `section.name`,
    as `kind` (a type that pydantic knows).

    Raises:
        PipelineError: as `load_params`.
    """
    section, name = key.split(".")
    content = _read_section(section, path)
    if name not in content:
        raise PipelineError(f"{path}: {key} is missing; restore it from params.yaml in git")
    try:
        return TypeAdapter(kind).validate_python(content[name])
    except ValidationError as error:
        raise PipelineError(_explain(error, key, content[name], path)) from None


def read_params(path: Path = PARAMS_FILE) -> dict[str, dict]:
    """All sections of params.yaml as they are, unchecked: to be shown or copied.

    Raises:
        PipelineError: the file is missing, is not YAML, or something in it is not a section.
    """
    document = _read_document(path)
    if not isinstance(document, dict) or not all(
        isinstance(section, dict) for section in document.values()
    ):
        raise PipelineError(f"{path}: sections of parameters were expected; restore it from git")
    return document


def flattened(values: Mapping, above: str = "") -> dict[str, Any]:
    """Values by their dotted names, as `dvc exp run -S` takes them: `{"a": {"b": 1}}` -> `{"a.b":
    1}`."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat


def _read_section(section: str, path: Path) -> dict:
    document = _read_document(path)
    if not isinstance(document, dict) or not isinstance(document.get(section), dict):
        raise PipelineError(
            f"{path}: section '{section}' is missing; restore it from params.yaml in git"
        )
    return document[section]


def _read_document(path: Path) -> Any:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(
            f"{path} is not in {Path.cwd()}; run from the project's folder"
        ) from None
    except OSError as error:
        raise PipelineError(
            f"{path} cannot be read: {error.strerror}; restore it from git"
        ) from None
    # besides its own errors, PyYAML lets through what a value such as 2020-99-99 makes Python raise
    except Exception as error:
        raise PipelineError(f"{path} is not valid YAML: {error}") from None


def _explain(error: ValidationError, name: str, content: Any, path: Path) -> str:
    """Pydantic's findings, a line for each key: file, key, value, what is wrong.

    Args:
        name: of the section or the key that has this content.
    """
    by_key: dict[str, list[dict]] = {}
    for problem in error.errors():
        key = ".".join([name, *_keys_to(problem, content)])
        by_key.setdefault(key, []).append(problem)
    return "\n".join(_explain_key(key, problems, path) for key, problems in by_key.items())


def _keys_to(problem: dict, content: Any) -> list[str]:
    """The keys that lead to a finding. In its `loc` they may be followed by one of the kinds that a
    value may be of, such as `literal['auto']`."""
    if problem["type"] == "missing":
        return [*map(str, problem["loc"])]
    keys = []
    for part in problem["loc"]:
        is_index = isinstance(content, list) and isinstance(part, int)
        if not is_index and not (isinstance(content, dict) and part in content):
            break
        keys.append(str(part))
        content = content[part]
    return keys


def _explain_key(key: str, problems: list[dict], path: Path) -> str:
    kind, found = problems[0]["type"], problems[0]["input"]
    if kind == "extra_forbidden":
        return (
            f"{path}: unknown parameter {key} = {_shown(found)}; check the spelling against "
            "params.yaml in git"
        )
    if kind == "missing":
        return f"{path}: {key} is missing; restore it from params.yaml in git"
    messages = (problem["msg"].removeprefix("Value error, ") for problem in problems)
    value = "" if isinstance(found, dict) else f" = {_shown(found)}"
    return f"{path}: {key}{value}: {', or '.join(messages)}"


def _shown(value: object) -> str:
    try:
        return _brief.repr(value)
    except ValueError:  # Python does not print integers of more than some thousand digits
        return "a number of thousands of digits"
