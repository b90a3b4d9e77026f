"""The table of labels is a dependency of `split`: DVC runs it again when the table changes."""

import yaml

from tests.helpers.tiny_pipeline import build_world, repro


def test_a_changed_table_runs_split_again(tmp_path):
    build_world(tmp_path)
    table = tmp_path / "labels (1), é.csv"
    rows = [f"{label}/{i}.png,{label}" for label in "ab" for i in range(12)]
    table.write_text("\n".join(["path,label", *rows]))
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert repro(tmp_path, "split").stages == ["split"]
    params["split"]["labels"] = table.name
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True))
    assert repro(tmp_path, "split").stages == ["split"]
    assert repro(tmp_path, "split").stages == []
    table.write_text("\n".join(["path,label", *rows[:-1], "b/11.png,a"]))
    again = repro(tmp_path, "split")
    assert again.stages == ["split"]
    assert "labels from labels (1), é.csv (CSV with commas, 24 rows)" in again.text
