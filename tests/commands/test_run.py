"""What `make run` ends with: the models' table, which says what images its accuracies are of."""

from types import SimpleNamespace

import pytest

from transfer.commands import run
from transfer.commands.run import scored_by, summarise
from transfer.dataset.scored_split import split_field

PIPELINE = {"train": {"deps": [], "outs": ["models/head"]}}


@pytest.mark.parametrize(
    ("split", "title"),
    [
        ("test", "accuracy (95 % interval)"),
        ("validation", "accuracy (95 % interval) (validation images)"),
    ],
)
def test_accuracies_of_validation_images_are_called_so(split, title):
    scores = {"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75}
    metrics = {"head": split_field(split) | scores}
    assert scored_by(metrics) == split
    table = summarise(PIPELINE, {"train": 2.0}, metrics)
    assert table[title].tolist() == ["0.500 (0.250 to 0.750)"]
    assert table["run now"].tolist() == ["train"]


def test_a_stage_that_ran_alone_in_a_new_project_ends_without_scores_and_without_an_error(
    project, monkeypatch, capsys
):
    (project / ".dvc").mkdir()
    succeeded = SimpleNamespace(returncode=0, stdout=b"")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: succeeded)
    run.main(["split"])
    said = capsys.readouterr().out
    assert "There are no scores yet (metrics/evaluation.json is missing)" in said
    assert "The whole run took" in said


def test_other_files_in_logs_are_no_logs_of_stages(project):
    (project / "logs").mkdir()
    (project / "logs/lesson-0.json").write_text('{"seed": 0}')  # as docs/numbers.md has it written
    for name, started in (("split", 5), ("extract", 1)):
        (project / f"logs/{name}.json").write_text(f'{{"started": {started}, "seconds": 2.5}}')
    assert run.seconds_since(3, ["split", "decode", "extract"]) == {"split": 2.5}
