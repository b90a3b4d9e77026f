"""The search space of a sweep: a small YAML file, each name and value validated by its section's
class of params.yaml."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from transfer.commands.sweep.trainings import TRAININGS
from transfer.commands.use.params_file import Value, rendered
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params

DIGITS = 3  # significant digits of tried numbers; more make no measurable difference


class Range(Params):
    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Space:
    """What a study of a section of params.yaml varies.

    defaults: the values of params.yaml, by name. distributions: Optuna's, by name, in the file's
        order.
    """

    section: str
    defaults: dict[str, Value]
    distributions: dict[str, BaseDistribution]

    def tried(self, drawn: dict[str, Value]) -> dict[str, Value]:
        """The values that are used in place of those that Optuna drew: numbers of three digits that
        are still within their range."""
        return {
            name: self._rounded(drawn[name], distribution)
            for name, distribution in self.distributions.items()
        }

    @staticmethod
    def _rounded(value: Value, distribution: BaseDistribution) -> Value:
        if not isinstance(distribution, FloatDistribution):
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), distribution.low), distribution.high)

    def command(self, values: dict[str, Value]) -> str:
        """The command that makes a DVC experiment of these values:
        those that are not params.yaml's."""
        changed = {name: value for name, value in values.items() if value != self.defaults[name]}
        settings = [
            word
            for name, value in changed.items()
            for word in ("-S", f"{self.section}.{name}={rendered(value)}")
        ]
        return shlex.join(["dvc", "exp", "run", *settings])


def read_spaces(path: Path, params: Mapping[str, Params]) -> list[Space]:
    """Read the file: one space per section.

    Args:
        params: params.yaml's section of each training.

    Raises:
        PipelineError: the file is missing or no YAML; a section, name, range or value is not one
            that params.yaml could have, or params.yaml's own value is not among those to be tried.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # bytes that are not UTF-8, invalid dates
        raise PipelineError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or not content:
        raise PipelineError(
            f"{path}: give at least one section of {', '.join(TRAININGS)}, with what is to be "
            "varied in it"
        )
    return [
        _space(f"{path}: {section}", section, entries, params)
        for section, entries in content.items()
    ]


def _space(where: str, section: str, entries: Any, params: Mapping[str, Params]) -> Space:
    if section not in TRAININGS:
        raise PipelineError(f"{where} is not a training; choose from {', '.join(TRAININGS)}")
    if not isinstance(entries, dict) or not entries:
        raise PipelineError(f"{where}: name at least one parameter to vary")
    kind = TRAININGS[section].params
    distributions = {}
    for name, entry in entries.items():
        if name == "seed":
            raise PipelineError(
                f"{where}.seed: each trial has the same seeds, so that trials differ by their "
                "parameters; leave it out"
            )
        if name not in kind.model_fields:
            raise PipelineError(
                f"{where}.{name} is not a parameter; params.yaml has "
                f"{', '.join(sorted({*kind.model_fields} - {'seed'}))}"
            )
        distributions[name] = _distribution(f"{where}.{name}", kind.model_fields[name], entry)
    defaults = {name: getattr(params[section], name) for name in distributions}
    for name, default in defaults.items():
        if not _contains(distributions[name], default):
            raise PipelineError(
                f"{where}.{name}: params.yaml has {rendered(default)}, which is not among these; "
                "include it, because the first trial has the values of params.yaml"
            )
    return Space(section, defaults, distributions)


def _distribution(where: str, field: FieldInfo, entry: Any) -> BaseDistribution:
    if isinstance(entry, list):
        if len(entry) < 2 or not all(isinstance(choice, Value) for choice in entry):
            raise PipelineError(
                f"{where}: a list needs two or more numbers, words, true, false or null"
            )
        choices = [_allowed(where, field, choice) for choice in entry]
        if len({*map(rendered, choices)}) < len(choices):
            raise PipelineError(f"{where}: a value is there twice")
        return CategoricalDistribution(choices)
    try:
        limits = Range.model_validate(entry)
    except ValidationError:
        raise PipelineError(
            f"{where}: give [a, b, ...] or {{low: a, high: b}} or {{low: a, high: b, log: true}}, "
            f"not {entry!r}"
        ) from None
    kinds = _kinds(field.annotation)
    if not kinds & {int, float}:
        raise PipelineError(f"{where} is not a number; give a list of values")
    if limits.low >= limits.high:
        raise PipelineError(f"{where}: low = {limits.low:g} is not below high = {limits.high:g}")
    if limits.log and limits.low <= 0:
        raise PipelineError(
            f"{where}: low = {limits.low:g} has no logarithm; raise it, or leave log out"
        )
    low, high = (_allowed(where, field, end) for end in (limits.low, limits.high))
    if float in kinds:
        return FloatDistribution(float(low), float(high), log=limits.log)
    return IntDistribution(low, high, log=limits.log)


def _allowed(where: str, field: FieldInfo, value: Value) -> Value:
    """The value as params.yaml's class has it, by the rules for this one parameter; those for
    several are the training's own."""
    parameter = TypeAdapter(Annotated[field.annotation, field], config=Params.model_config)
    try:
        return parameter.validate_python(value)
    except ValidationError as error:
        raise PipelineError(f"{where} = {rendered(value)}: {error.errors()[0]['msg']}") from None


def _kinds(annotation: Any) -> set[type]:
    """The plain types in an annotation, for example of `float | None`."""
    parts = get_args(annotation)
    return (
        set().union(*map(_kinds, parts))
        if parts
        else {annotation}
        if isinstance(annotation, type)
        else set()
    )


def _contains(distribution: BaseDistribution, value: Value) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return rendered(value) in map(rendered, distribution.choices)
    return isinstance(value, int | float) and distribution.low <= value <= distribution.high
