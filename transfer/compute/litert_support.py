"""Whether a network can run on LiteRT here; imports neither LiteRT nor Keras."""

from importlib.util import find_spec

from transfer.runtime.instructions import missing_instructions


def why_no_litert(precision: str) -> str | None:
    """Why a network on this CPU does not run on LiteRT; None if it does.

    Args:
        precision: `compute.precision`.
    """
    if not find_spec("ai_edge_litert"):
        return "LiteRT is not installed"
    if precision != "float32":
        return f"compute.precision = {precision}, and LiteRT computes in float32"
    if (missing := missing_instructions()) is not None:
        return f"this processor has no {missing.upper()}"
    return None
