"""Presets: named sets of values for params.yaml, one file each in docs/presets."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import yaml

from transfer.commands.use.params_file import Value
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import flattened

PRESETS = Path("docs/presets")


def preset_names(folder: Path = PRESETS) -> list[str]:
    """The names of the presets in a folder, sorted; none where the folder is missing."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_preset(name: str, folder: Path = PRESETS) -> dict[str, Value]:
    """The values of a preset by `section.key`, in the order of its file.

    Raises:
        PipelineError: there is no such preset (lists those there are), or its file does not hold
            sections of single values.
    """
    names = preset_names(folder)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        there = f"there are {', '.join(names)}" if names else f"{folder} holds none"
        raise PipelineError(f"no preset {name!r}; {guess}{there}")
    path = folder / f"{name}.yaml"
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PipelineError(f"{path} cannot be read: {error}; restore it from git") from None
    if not isinstance(sections, dict) or not all(
        isinstance(values, dict) for values in sections.values()
    ):
        raise PipelineError(f"{path}: sections of values were expected, as params.yaml has them")
    values = flattened(sections)
    for key, value in values.items():
        if not isinstance(value, Value):
            raise PipelineError(f"{path}: {key} = {value!r}: a single value was expected")
    return values


def preset_changes(values: Mapping[str, Value], params: Mapping[str, Mapping]) -> dict[str, Value]:
    """Those values of a preset that are not in params.yaml already, by `section.key`; a key that
    params.yaml lacks is among them, and `edit_params` refuses it.

    Args:
        values: of the preset, by `section.key`.
        params: the content of params.yaml.
    """
    current = flattened(params)
    return {
        key: value for key, value in values.items() if key not in current or current[key] != value
    }
