"""The names of ImageNet's 1,000 classes, which are part of the project (SOURCE.md gives their
origin)."""

import csv
from dataclasses import dataclass
from pathlib import Path

CLASSES = Path(__file__).with_name("imagenet_classes.csv")


@dataclass(frozen=True)
class ImageNetClass:
    """Two names belong to two classes each, which only the id distinguishes."""

    wordnet_id: str
    name: str


def read_classes() -> list[ImageNetClass]:
    """All of them, in the order in which the networks number them."""
    with CLASSES.open(encoding="utf-8", newline="") as file:
        return [ImageNetClass(row["wordnet_id"], row["name"]) for row in csv.DictReader(file)]
