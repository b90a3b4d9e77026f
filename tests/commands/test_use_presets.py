"""Presets: `python -m transfer use --preset NAME`, and what the shipped files must hold."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.helpers.tiny_sources import REPOSITORY, build, class_folders
from transfer.__main__ import main
from transfer.commands.use.presets import preset_names, read_preset
from transfer.runtime.errors import PipelineError

SHIPPED = REPOSITORY / "docs/presets"
NAMES = preset_names(SHIPPED)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A project's folder with the repository's params.yaml and presets in it."""
    (tmp_path / "docs").mkdir()
    shutil.copytree(SHIPPED, tmp_path / "docs/presets")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text() -> str:
    return Path("params.yaml").read_text(encoding="utf-8")


def comments(lines: str) -> list[str]:
    return [line.partition("#")[2] for line in lines.splitlines()]


def values() -> dict[str, object]:
    """params.yaml by `section.key`."""
    return {
        f"{section}.{key}": value
        for section, keys in yaml.safe_load(text()).items()
        for key, value in keys.items()
    }


def test_a_preset_changes_its_values_and_no_others(here, capsys):
    before, old = text(), values()
    assert main(["use", "--preset", "modern"]) == 0
    assert values() == old | read_preset("modern")
    assert comments(text()) == comments(before)
    said = capsys.readouterr().out
    assert "use: wrote to params.yaml: backbone.name = EfficientNetLite2" in said
    assert "split." not in said


def test_the_default_preset_is_params_yaml(here, capsys):
    before = text()
    assert main(["use", "--preset", "default"]) == 0
    assert "wrote to params.yaml: nothing, since it says all this" in capsys.readouterr().out
    assert text() == before


def test_the_last_preset_that_was_used_counts(here):
    assert NAMES == ["default", "lesson", "modern"]
    for first, then in pairwise([*NAMES, *NAMES]):
        assert read_preset(first).keys() == read_preset(then).keys()
    before = text()
    for name in ("modern", "lesson", "default"):
        main(["use", "--preset", name])
    assert yaml.safe_load(text()) == yaml.safe_load(before)
    assert comments(text()) == comments(before)


def test_a_source_and_a_preset_are_written_together(here, capsys):
    build(here / "pets", class_folders(cat=4, dog=5))
    assert main(["use", "pets", "--preset", "modern"]) == 0
    assert values()["split.source"] == "pets"
    assert values()["backbone.name"] == "EfficientNetLite2"
    assert "classes    2: cat 4, dog 5" in capsys.readouterr().out


def test_a_dry_run_only_shows(here, capsys):
    before = text()
    assert main(["use", "--preset", "modern", "--dry-run"]) == 0
    assert text() == before
    assert "would write to params.yaml: backbone.name = EfficientNetLite2" in (
        capsys.readouterr().out
    )


def test_an_unknown_preset_lists_those_there_are(here, capsys):
    before = text()
    assert main(["use", "--preset", "modem"]) == 1
    said = capsys.readouterr().err
    assert "no preset 'modem'; did you mean modern? there are default, lesson, modern" in said
    assert text() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the PATH of your images, or a --preset, or both"),
        (["--preset", "modern", "--split", "60/20/20"], "--split is of a source; name its PATH"),
        (["--preset", "modern", "--follow-links"], "--follow-links is of a source"),
    ],
)
def test_what_is_of_a_source_needs_its_path(here, capsys, words, message):
    with pytest.raises(SystemExit):
        main(["use", *words])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "cannot be read"),
        ("- a", "sections of values were expected"),
        ("a: 1", "sections of values were expected"),
        ("a: {b: [1]}", r"a.b = \[1\]: a single value was expected"),
    ],
)
def test_a_damaged_preset_is_a_sentence(tmp_path, content, message):
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(PipelineError, match=message):
        read_preset("mine", tmp_path)


def test_a_preset_of_ones_own_with_a_key_that_is_none(here, capsys):
    before = text()
    (here / "docs/presets/mine.yaml").write_text("train_head: {width: 3}\n", encoding="utf-8")
    assert main(["use", "--preset", "mine"]) == 1
    assert "train_head.width is missing" in capsys.readouterr().err
    assert text() == before


def test_without_the_folder_there_are_none(tmp_path):
    with pytest.raises(PipelineError, match="no preset 'modern'; .* holds none"):
        read_preset("modern", tmp_path / "none")
