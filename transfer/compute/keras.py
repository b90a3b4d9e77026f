"""Keras without scikit-learn and Matplotlib: `from transfer.compute.keras import keras`.

Keras imports both if they are installed, for wrappers and galleries that are not used here. That
costs every stage more than a second, so they are hidden while Keras loads. So are the remarks of
TensorFlow's libraries (transfer/runtime/startup_messages.py).

Python's garbage collector stands still meanwhile, and never looks at what was loaded: these are
some hundred thousand objects that live as long as the process. With the collector, importing Keras
and ending the process take 3.3 seconds of a core; without it, 2.
"""

import gc
import os
import sys

from transfer.runtime.startup_messages import without_remarks

_hidden = [name for name in ("sklearn", "matplotlib") if name not in sys.modules]
# None makes an import fail as if the package were not installed
sys.modules.update(dict.fromkeys(_hidden))
_collects = gc.isenabled()
gc.disable()
try:
    with without_remarks():
        import keras
except (ValueError, ModuleNotFoundError) as error:
    backend = os.environ.get("KERAS_BACKEND")
    if backend is None:
        raise
    sys.exit(
        f"KERAS_BACKEND={backend}: Keras cannot load it ({error}); choose tensorflow, or jax or "
        "torch where they are installed"
    )
finally:
    for _name in _hidden:
        del sys.modules[_name]
    gc.freeze()
    if _collects:
        gc.enable()

__all__ = ["keras"]
