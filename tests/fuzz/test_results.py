"""Damaged results of the other stages end in tables and sentences, or the project's own error that
names the file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.helpers.report_world import write_world
from transfer.report.html_page import read_mistakes
from transfer.report.narrative import ReportParams, describe
from transfer.report.results import read_results
from transfer.report.tables import (
    class_counts,
    class_scores,
    comparison_table,
    confusion,
    issue_table,
    metric_table,
    model_table,
)
from transfer.runtime.params import read_params


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, ["cat", 'd"ö"g, NA'])
    return folder


def test_damaged_results_are_shown_or_refused(guard, world, monkeypatch):
    monkeypatch.chdir(world)
    params = read_params()
    told = ReportParams.model_validate(params["report"])
    originals = {
        path: path.read_bytes()
        for folder in ("data", "metrics", "models", "plots")
        for path in Path(folder).rglob("*.[cj]s*")
    }

    @given(
        st.sampled_from(sorted(originals)).flatmap(
            lambda path: st.tuples(st.just(path), mutated([originals[path]]))
        )
    )
    def throw(damage: tuple[Path, bytes]):
        path, content = damage
        path.write_bytes(content)
        try:
            if results := guard("results", content, read_results, names=path):
                describe(results, told, params)
                for make in (
                    model_table,
                    lambda found: metric_table(found.models),
                    lambda found: issue_table(found.issues),
                ):
                    make(results)
                comparison_table(results.comparison)
                class_counts(results.manifest)
                for model in results.models:
                    class_scores(model)
                    confusion(model)
                guard(
                    "mistakes",
                    content,
                    lambda: read_mistakes(results.models),
                    names="data/evaluation",
                )
        finally:
            path.write_bytes(originals[path])

    throw()
