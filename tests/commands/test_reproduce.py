"""What `make reproduce` says of two runs; that they are the same bytes is said by running it, which
takes ten minutes."""

import pytest

from transfer.commands.reproduce import compare, main, read_hashes
from transfer.runtime.errors import PipelineError

LOCK = """
stages:
  extract:
    outs: [{path: data/features/train, md5: aa}, {path: data/features/test, md5: bb}]
  evaluate:
    outs: [{path: metrics/evaluation.json, md5: cc}, {path: plots/mistakes, md5: dd.dir}]
  note: {}
"""


def read(tmp_path, text: str = LOCK) -> dict:
    (tmp_path / "dvc.lock").write_text(text)
    return read_hashes(tmp_path)


def test_every_output_of_every_stage_is_compared(tmp_path):
    hashes = read(tmp_path)
    table = compare(hashes, hashes, hashes)
    assert table["output"].tolist() == [
        "data/features/train",
        "data/features/test",
        "metrics/evaluation.json",
        "plots/mistakes",
    ]
    assert table["stage"].tolist() == ["extract", "extract", "evaluate", "evaluate"]
    assert table[["same", "as committed"]].to_numpy().all()


def test_a_difference_is_one_in_its_row_only(tmp_path):
    hashes, other = read(tmp_path), read(tmp_path, LOCK.replace("bb", "b0"))
    table = compare(hashes, other, other)
    assert table["same"].tolist() == [True, False, True, True]
    assert table["as committed"].tolist() == [True, False, True, True]
    assert table.loc[1, ["one", "two"]].tolist() == ["bb", "b0"]


def test_an_output_that_one_run_lacks_is_a_difference(tmp_path):
    hashes = read(tmp_path)
    fewer = {key: md5 for key, md5 in hashes.items() if key != ("evaluate", "plots/mistakes")}
    for one, two in ((hashes, fewer), (fewer, hashes)):
        table = compare(one, two, hashes).set_index("output")
        assert not table.loc["plots/mistakes", "same"]
        assert "missing" in table.loc["plots/mistakes", ["one", "two"]].tolist()


def test_a_project_without_git_is_a_sentence(project):
    with pytest.raises(PipelineError, match="git cannot clone .*make it a git repository"):
        main([])
