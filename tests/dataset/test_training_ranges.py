"""The rules that the training images decide for all images."""

import pandas as pd
import pytest

from transfer.dataset.training_ranges import derive_rules
from transfer.decoding.value_ranges import ValueRange
from transfer.sources.scanned_file import ScannedFile, ScannedFiles


def rules_of(*images: tuple[str, ScannedFile]):
    manifest = pd.DataFrame({"split": [split for split, _ in images]})
    return derive_rules(ScannedFiles(image for _, image in images), manifest)


def scanned(**values) -> ScannedFile:
    return ScannedFile("", **values)


@pytest.mark.parametrize("name", ["alpha", "tiff_alpha"])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [([], True), ([None, None], True), ([False], False), ([True, False], True)],
)
def test_most_training_images_decide_what_a_fourth_band_is(name, answers, expected):
    images = [("train", scanned(**{name: answer})) for answer in answers]
    rules = rules_of(*images, ("test", scanned(**{name: not expected})))
    assert getattr(rules, name) is expected
    assert getattr(rules, {"alpha": "tiff_alpha", "tiff_alpha": "alpha"}[name]) is True


def test_a_kind_of_sample_that_only_other_images_have_is_judged_by_them():
    small, large = ValueRange("unsigned", 0, 900), ValueRange("unsigned", 0, 9000)
    signed = ValueRange("signed", -5, 5)
    rules = rules_of(
        ("train", scanned(value_range=small)),
        ("test", scanned(value_range=large)),
        ("test", scanned(value_range=signed)),
    )
    assert rules.ranges == {"unsigned": (0, 1023), "signed": (-5, 5)}
