"""Commands that predict, as `first_row` reads, feeds and times them."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks.first_row import copy_images, read_commands, table, time_rows
from benchmarks.measuring import Place, Timed
from tests.helpers.tiny_pipeline import draw_image

ROWS = "import os, sys; print('a header'); [print(name, 1) for name in sorted(os.listdir({0}))]"


@pytest.fixture
def place(project: Path) -> Place:
    draw_image(project / "images/a/1.png", seed=1)
    draw_image(project / "images/b/2.PNG", seed=2)
    (project / "params.yaml").write_text("split: {source: images}")
    return Place(project, dict(os.environ), project / "log.txt")


def test_images_are_repeated_and_commands_print_a_row_for_each(place):
    first = copy_images(place.folder / "copies", 5)
    assert first.name == "0.image.png"
    assert len([*first.parent.iterdir()]) == 5
    code = shlex.quote(ROWS.format("sys.argv[1]"))
    in_a_word = shlex.quote(ROWS.format("sys.argv[1].removeprefix('source=')"))
    commands = read_commands(
        [
            f"last={sys.executable} -c {code}",
            f"within={sys.executable} -c {in_a_word} source={{path}}",
        ]
    )
    for command in commands.values():
        timed = time_rows(place, command, first.parent, 5)
        assert 0 < timed.first_row <= timed.seconds


def test_the_table_has_medians_rates_and_memory():
    one = {"ours": [Timed(2.0, 1.0, 1, first_row) for first_row in (0.5, 0.7, 0.6)]}
    everything = {"ours": [Timed(seconds, 1.0, 3_000_000) for seconds in (5.0, 4.0, 20.0)]}
    assert table(one, everything, 100).splitlines()[1].split() == [
        "ours", "0.600", "(0.500", "to", "0.700)", "1.00", "20.0", "3",
    ]  # fmt: skip
