"""YAML is parsed once per text, and its readers cannot change what others read."""

import yaml

from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime.yaml_text import parse_lock, parse_yaml


def test_what_one_reader_changes_another_does_not_see():
    text = "train: {epochs: 3}\n"
    parse_yaml(text)["train"]["epochs"] = 4
    assert parse_yaml(text) == {"train": {"epochs": 3}}


def test_a_lock_is_the_same_with_either_parser():
    text = (REPOSITORY / "deploy/dvc.lock").read_text(encoding="utf-8")
    assert parse_lock(text) == yaml.safe_load(text)
