"""Packages that only some commands need: which extra has each, and the sentence for one that is not
installed.

An extra is a lock in requirements/ that `make .venv/extra-NAME` installs in addition to
requirements.txt. The standard library is all that is imported here: commands use this before
anything else.
"""

EXTRAS = {  # module -> requirements/EXTRA.txt
    "flask": "demo",
    "keras_hub": "hub",
    "onnx": "export",
    "onnxruntime": "export",
    "optuna": "sweep",
    "pillow_heif": "heic",
    "pyarrow": "parquet",
    "ray": "ray",
    "simpy": "scale",
    "tf2onnx": "export",
    "waitress": "demo",
    "werkzeug": "demo",
}


def explain_missing(error: ModuleNotFoundError) -> str | None:
    """What to install for a failed import; None for a module in no extra, which is a bug."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return f"{module} is not installed; `make .venv/extra-{EXTRAS[module]}` installs it"
