"""Output columns of `label`. The table has one line per class."""

from transfer.imagenet.classes import ImageNetClass
from transfer.inference.output_formats import fit
from transfer.inference.predictions import PredictionRow, ranking

_LINE = "{}  {:>11}  {:<10}"
_CLASS = 32  # columns of a terminal, two more than the longest name


class LabelColumns:
    """The `top_k` likeliest classes, the likeliest first:
    name, WordNet id and probability of each."""

    def __init__(self, classes: list[ImageNetClass], top_k: int):
        self._classes, self._top_k = classes, min(top_k, len(classes))
        others = [
            f"{name}_{rank}"
            for rank in range(2, self._top_k + 1)
            for name in ("class", "wordnet_id", "probability")
        ]
        self.names = ["path", "predicted", "wordnet_id", "probability", *others, "error"]
        self.header = _LINE.format(fit("predicted", _CLASS), "probability", "wordnet_id")
        self.width = len(self.header)

    def values(self, row: PredictionRow) -> list[str | float | None]:
        """A row's values in the order of `names`, probabilities to six digits; None if there are
        none."""
        if row.prediction is None:
            return [row.path, *[None] * (3 * self._top_k), row.problem]
        return [
            row.path,
            *(
                value
                for known, chance in self._ranked(row)
                for value in (known.name, known.wordnet_id, chance)
            ),
            None,
        ]

    def lines(self, row: PredictionRow) -> list[str]:
        return [
            _LINE.format(fit(known.name, _CLASS), f"{chance:.3f}", known.wordnet_id)
            for known, chance in self._ranked(row)
        ]

    def _ranked(self, row: PredictionRow) -> list[tuple[ImageNetClass, float]]:
        chances = row.prediction.probabilities
        return [
            (self._classes[label], round(float(chances[label]), 6))
            for label in ranking(chances)[: self._top_k]
        ]
