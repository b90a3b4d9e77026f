"""Output columns of `predict`."""

from transfer.inference.output_formats import columns_of, fit
from transfer.inference.predictions import PredictionRow, ranking

UNLIKE = 99.0  # percentile of the validation images beyond which the table marks an image
_CLASS, _OTHERS = 20, 32  # the most terminal columns of these texts
_NUMBERS = "  {:>11}  {:>8}  {:>7} {:1}"


class PredictionColumns:
    """The `top_k` likeliest classes, the likeliest first, and how unlike the training images an
    image is."""

    def __init__(self, class_names: list[str], top_k: int):
        self._names, self._top_k = class_names, min(top_k, len(class_names))
        others = [
            f"{name}_{rank}"
            for rank in range(2, self._top_k + 1)
            for name in ("class", "probability")
        ]
        self.names = ["path", "predicted", "probability", *others, "unlike", "distance", "error"]
        self._class_width = min(max(len("predicted"), *map(columns_of, class_names)), _CLASS)
        self._others_width = _OTHERS if self._top_k > 1 else 0
        self.header = self._line("predicted", "then", "probability", "distance", "unlike", "")
        self.width = columns_of(self.header)

    def values(self, row: PredictionRow) -> list[str | float | None]:
        """A row's values in the order of `names`, rounded as `evaluate` rounds; None for a
        missing value."""
        if row.prediction is None:
            return [row.path, *[None] * (2 * self._top_k + 2), row.problem]
        probabilities = row.prediction.probabilities
        ranked = [
            each
            for label in ranking(probabilities)[: self._top_k]
            for each in (self._names[label], round(float(probabilities[label]), 6))
        ]
        percentile, distance = row.prediction.percentile, row.prediction.distance
        novelty = [None, None] if distance is None else [round(percentile, 2), round(distance, 6)]
        return [row.path, *ranked, *novelty, None]

    def lines(self, row: PredictionRow) -> list[str]:
        """The table's one line of a row with a prediction, without the path."""
        _, predicted, probability, *others, percentile, distance, _ = self.values(row)
        pairs = zip(others[::2], others[1::2], strict=True)
        novelty = (
            ["", "", ""]
            if distance is None
            else [f"{distance:.3f}", f"{percentile:.1f}", "!" if percentile > UNLIKE else ""]
        )
        return [
            self._line(
                predicted,
                ", ".join(f"{name} {chance:.3f}" for name, chance in pairs),
                f"{probability:.3f}",
                *novelty,
            )
        ]

    def _line(self, predicted: str, others: str, *numbers: str) -> str:
        texts = [fit(predicted, self._class_width)] + (
            [fit(others, self._others_width)] if self._others_width else []
        )
        return "  ".join(texts) + _NUMBERS.format(*numbers)
