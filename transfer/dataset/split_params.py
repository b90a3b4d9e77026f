"""The section `split` of params.yaml."""

import re
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, field_validator, model_validator

from transfer.dataset.manifest import FORMATS, SPLITS
from transfer.labels.labels_by_pattern import compile_pattern
from transfer.labels.path_label import LabelColumns
from transfer.runtime.params import Params


class SplitParams(Params):
    """What the images are, where their labels come from, and how they are divided."""

    source: str = Field(min_length=1)
    labels: str = Field(min_length=1)
    columns: LabelColumns
    label_pattern: str | None
    class_names: str | None
    train: float = Field(gt=0)
    validation: float = Field(ge=0)
    test: float = Field(ge=0)
    group_by: str | None
    near_copies: bool
    near_copy_bits: int = Field(ge=0, le=16)
    min_images: NonNegativeInt
    merge_case: bool | None
    follow_links: bool
    max_rejected: NonNegativeInt
    seed: NonNegativeInt
    draw_by: Literal["chance", "checksum"] = "chance"
    order: Literal["path", "checksum"]
    manifest: Literal[*FORMATS]

    @property
    def sizes(self) -> np.ndarray:
        """The sizes asked for, of train, validation and test: fractions or counts, (3,)."""
        return np.array([self.train, self.validation, self.test])

    @property
    def wanted(self) -> tuple[str, ...]:
        """The splits that get images: all, or all but test."""
        return tuple(split for split in SPLITS if getattr(self, split))

    @property
    def is_fractions(self) -> bool:
        return bool((self.sizes < 1).all()) or self.is_percentages

    @property
    def is_percentages(self) -> bool:
        """Whether the sizes add up to 100, as percentages do."""
        return abs(float(self.sizes.sum()) - 100) < 1e-6

    @field_validator("validation")
    @classmethod
    def _is_not_nothing(cls, size: float) -> float:
        if size == 0:
            raise ValueError(
                "the validation images choose each network's epoch, so some are needed; give a "
                "small share, 0.1 or 10 % say. Only test may be 0"
            )
        return size

    @field_validator("group_by")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @field_validator("label_pattern")
    @classmethod
    def _has_a_label(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compile_pattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _adds_up(self):
        asked = (
            f"train, validation, test = {self.train:.12g}, {self.validation:.12g}, {self.test:.12g}"
        )
        if self.is_percentages:
            return self
        if self.is_fractions and abs(self.sizes.sum() - 1) > 1e-6:
            raise ValueError(
                f"{asked} add up to {self.sizes.sum():.12g}; fractions must add up to 1, and "
                "percentages to 100"
            )
        if not self.is_fractions and (self.sizes % 1).any():
            raise ValueError(
                f"{asked}: give three fractions that add up to 1, three percentages that add up to "
                "100, or three whole numbers of images"
            )
        return self
