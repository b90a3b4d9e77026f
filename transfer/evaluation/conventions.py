"""What all results have in common; imports nothing, so that whoever needs a constant loads no
library for it."""

CONFIDENCE = 0.95  # of intervals; a p of more than the rest shows no difference
DECIMALS = 6  # finer ones would differ between machines
