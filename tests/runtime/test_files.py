"""Files appear whole or not at all, and as people and programs read them."""

import pytest

from transfer.runtime.files import atomic_write, write_csv, write_json


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "result.npy"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == ".npy"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_before_anything_was_written_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="early"), atomic_write(tmp_path / "result.csv"):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "scores.json", {"accuracy": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_is_written_for_people(tmp_path):
    write_json(tmp_path / "scores.json", {"class": "Käfer", "accuracy": 0.5})
    assert (
        tmp_path / "scores.json"
    ).read_bytes() == '{\n  "class": "Käfer",\n  "accuracy": 0.5\n}\n'.encode()


def test_csv_quotes_what_would_break_a_line(tmp_path):
    write_csv(
        tmp_path / "table.csv",
        ["path", "reason"],
        [("a,b.png", 'not "whole"'), ("ü.png", "two\nlines")],
    )
    assert (
        tmp_path / "table.csv"
    ).read_bytes() == 'path,reason\n"a,b.png","not ""whole"""\nü.png,"two\nlines"\n'.encode()
