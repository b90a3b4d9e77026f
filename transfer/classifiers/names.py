"""The models that the pipeline trains, in its order."""

MODEL_NAMES = ("scratch", "head", "augmented", "finetuned")
