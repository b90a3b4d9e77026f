from pathlib import Path
from typing import Literal

import pytest
from pydantic import PositiveFloat, PositiveInt

from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params, load_param, load_params
from transfer.runtime.resource_params import ResourceParams


class TrainParams(Params):
    epochs: PositiveInt
    learning_rate: PositiveFloat
    keep: str | None = None


GOOD = "train:\n  epochs: 3\n  learning_rate: 0.1\n"


@pytest.fixture
def params(project: Path):
    """Write params.yaml and read its section `train`."""

    def load(text: str | bytes) -> TrainParams:
        Path("params.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        return load_params(TrainParams, "train")

    return load


def refusal(load, text) -> str:
    with pytest.raises(PipelineError) as error:
        load(text)
    return str(error.value)


@pytest.mark.parametrize("written", ["1e-05", "0.00001", "1.0e-5", "'1e-05'"])
def test_a_small_number_is_a_number_however_it_is_written(params, written):
    assert params(f"train:\n  epochs: 3\n  learning_rate: {written}\n").learning_rate == 0.00001


def test_params_are_frozen(params):
    with pytest.raises(ValueError, match="frozen"):
        params(GOOD).epochs = 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            GOOD.replace("3", "abc"),
            "params.yaml: train.epochs = 'abc': Input should be a valid integer",
        ),
        (GOOD.replace("3", "0"), "params.yaml: train.epochs = 0: Input should be greater than 0"),
        (
            GOOD.replace("3", "2.5"),
            "params.yaml: train.epochs = 2.5: Input should be a valid integer",
        ),
        (
            GOOD.replace("3", ""),
            "params.yaml: train.epochs = None: Input should be a valid integer",
        ),
        (
            GOOD.replace("3", "[1, 2]"),
            "params.yaml: train.epochs = [1, 2]: Input should be a valid integer",
        ),
        (
            GOOD.replace("0.1", ".nan"),
            "params.yaml: train.learning_rate = nan: Input should be a finite number",
        ),
        (
            GOOD.replace("0.1", "-.inf"),
            "params.yaml: train.learning_rate = -inf: Input should be a finite number",
        ),
        (
            GOOD.replace("0.1", "-1"),
            "params.yaml: train.learning_rate = -1: Input should be greater than 0",
        ),
        (
            GOOD + "  epoch: 4\n",
            "params.yaml: unknown parameter train.epoch = 4; check the spelling against "
            "params.yaml in git",
        ),
        (
            "train:\n  epochs: 3\n",
            "params.yaml: train.learning_rate is missing; restore it from params.yaml in git",
        ),
        (
            "other:\n  x: 1\n",
            "params.yaml: section 'train' is missing; restore it from params.yaml in git",
        ),
        ("train:\n", "params.yaml: section 'train' is missing"),
        ("train: 5\n", "params.yaml: section 'train' is missing"),
        ("- train\n", "params.yaml: section 'train' is missing"),
        ("", "params.yaml: section 'train' is missing"),
        ("train: [1,\n", "params.yaml is not valid YAML: "),
        ("train:\n\tepochs: 3\n", "params.yaml is not valid YAML: "),
        (b"train: \xff\xfe\n", "params.yaml is not valid YAML: "),
        (GOOD.replace("3", "2020-99-99"), "params.yaml is not valid YAML: month must be in 1..12"),
        (GOOD.replace("3", "!!int ''"), "params.yaml is not valid YAML: "),
        (GOOD.replace("3", "!!timestamp x"), "params.yaml is not valid YAML: "),
        (GOOD.replace("3", "!!bool x"), "params.yaml is not valid YAML: "),
        (GOOD.replace("3", "9" * 5000), "params.yaml is not valid YAML: "),
        (
            GOOD.replace("3", "-0x" + "f" * 5000),
            "train.epochs = a number of thousands of digits: Input should be",
        ),
        (GOOD.replace("3", "[" * 3000), "params.yaml is not valid YAML: "),
        (
            GOOD.replace("3", "!!python/object/apply:os.mkdir [made]"),
            "params.yaml is not valid YAML: could not determine a constructor",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_and_value(params, text, words):
    assert words in refusal(params, text)


class EitherParams(Params):
    size: PositiveInt | Literal["auto"]
    steps: list[PositiveInt | Literal["all"]] = []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "size: 0",
            "params.yaml: s.size = 0: Input should be greater than 0, or Input should be 'auto'",
        ),
        (
            "{size: 1, steps: [2, x]}",
            "params.yaml: s.steps.1 = 'x': Input should be a valid integer, unable to parse string "
            "as an integer, or Input should be 'all'",
        ),
        (
            "{size: 1, sizes: auto}",
            "params.yaml: unknown parameter s.sizes = 'auto'; check the spelling against "
            "params.yaml in git",
        ),
        (
            "size: {a: 1}",
            "params.yaml: s.size: Input should be a valid integer, or Input should be 'auto'",
        ),
        ("{}", "params.yaml: s.size is missing; restore it from params.yaml in git"),
    ],
)
def test_a_value_that_may_be_of_two_kinds_is_named_once(project, text, message):
    Path("params.yaml").write_text(f"s: {text}" if text[0] == "{" else f"s:\n  {text}\n")
    with pytest.raises(PipelineError) as error:
        load_params(EitherParams, "s")
    assert str(error.value) == message


@pytest.mark.parametrize("address", ["10.0.0.1", "ray://head:10001", "head:", "a b:1"])
def test_an_address_of_a_cluster_that_is_none_is_refused_with_an_example(project, address):
    Path("params.yaml").write_text(f"resources: {{address: '{address}'}}\n")
    with pytest.raises(PipelineError) as error:
        load_params(ResourceParams, "resources")
    assert str(error.value) == (
        f"params.yaml: resources.address = '{address}': host:port was expected, for example "
        "10.0.0.1:6379"
    )


def test_every_mistake_is_named_at_once(params):
    message = refusal(params, "train:\n  epochs: abc\n  learning_rate: 0\n  speed: 9\n")
    assert [line.split(" = ")[0] for line in message.splitlines()] == [
        "params.yaml: train.epochs",
        "params.yaml: train.learning_rate",
        "params.yaml: unknown parameter train.speed",
    ]


def test_a_missing_file_is_an_error_that_names_the_folder_to_run_in(project):
    with pytest.raises(PipelineError) as error:
        load_params(TrainParams, "train")
    assert str(error.value) == f"params.yaml is not in {project}; run from the project's folder"


def test_a_folder_in_place_of_the_file_is_named(project):
    Path("params.yaml").mkdir()
    with pytest.raises(PipelineError, match="params.yaml cannot be read: Is a directory"):
        load_params(TrainParams, "train")


def test_a_single_value_of_another_section(params):
    params(GOOD)
    assert load_param(PositiveInt, "train.epochs") == 3


@pytest.mark.parametrize(
    ("kind", "key", "words"),
    [
        (
            PositiveInt,
            "train.learning_rate",
            "params.yaml: train.learning_rate = 0.1: Input should be a valid integer",
        ),
        (
            PositiveInt,
            "train.speed",
            "params.yaml: train.speed is missing; restore it from params.yaml in git",
        ),
        (str, "backbone.name", "params.yaml: section 'backbone' is missing"),
    ],
)
def test_a_single_value_that_does_not_fit_is_named(params, kind, key, words):
    params(GOOD)
    with pytest.raises(PipelineError) as error:
        load_param(kind, key)
    assert words in str(error.value)


def test_a_page_of_aliases_that_stand_for_gigabytes_is_named_in_a_line(params):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    message = refusal(params, "\n".join(lines) + "\n" + GOOD.replace("3", "*a11"))
    assert message.startswith("params.yaml: train.epochs = [[[...], ")
    assert len(message) < 1000
