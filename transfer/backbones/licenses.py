"""What is stated of the licence of published weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class License:
    """The terms of a network's published weights.

    spdx: the licence's identifier in the SPDX list, or its name where it is not in that list.
    attribution: who made the weights, who converted them, and the paper that describes the
        network.
    """

    spdx: str
    attribution: str
