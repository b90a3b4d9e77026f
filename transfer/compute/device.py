"""Sets up Keras's backend: device, threads, precision and determinism. docs/performance.md gives
the reasons."""

import os
from pathlib import Path

from transfer.compute.data_parallel import enable_data_parallel
from transfer.compute.keras import keras
from transfer.compute.params import ComputeParams
from transfer.runtime.cores import available_cores
from transfer.runtime.dvc_files import PIPELINE
from transfer.runtime.errors import PipelineError
from transfer.runtime.instructions import allow_all_instructions

COMPILED = Path(".cache/jax")
COMPILED_BYTES = 2**30  # of compiled code that is kept; the least recently used is deleted first
# Seconds of compiling; code that takes less is compiled again.
WORTH_KEEPING = 0.1


def configure_backend(params: ComputeParams, seed: int, threads: int | None = None) -> None:
    """Seed all generators, choose device and precision, and make the backend deterministic.

    Must be called before the first operation.

    Args:
        threads: CPU threads of one operation, for training. The last bits of sums depend on it,
            so it is not the number of cores. None for the frozen pass, whose rows do not depend on
            it.

    Raises:
        PipelineError: a GPU is requested and the backend sees none, or more GPUs than it can use.
    """
    prepare = {"tensorflow": _set_up_tensorflow, "jax": _set_up_jax, "torch": _set_up_torch}
    backend = keras.config.backend()
    if backend not in prepare:
        raise PipelineError(
            f"KERAS_BACKEND={backend}: it cannot train; choose {', '.join(prepare)}"
        )
    prepare[backend](params, threads)
    if params.device == "gpu" and not has_accelerator():
        raise PipelineError(
            f"compute.device = 'gpu': {backend} sees no GPU; set auto or cpu, or install a driver "
            f"and a {backend} that has GPU support"
        )
    keras.config.set_dtype_policy(
        "float32" if params.precision == "float32" else f"mixed_{params.precision}"
    )
    if params.gpus > 1 and threads is not None:
        enable_data_parallel(params.gpus)
    keras.utils.set_random_seed(seed)


def _set_up_tensorflow(params: ComputeParams, threads: int | None) -> None:
    if params.precision != "float32":
        # If the processor has half-precision arithmetic, TensorFlow asks oneDNN for it, which has
        # none within AVX2.
        allow_all_instructions()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads or 1)
    tf.config.threading.set_inter_op_parallelism_threads(available_cores())
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if params.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    # That optimizer rewrites x / sqrt(y) to x * rsqrt(y), for which Eigen uses an instruction that
    # processors approximate differently.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    tf.config.experimental.enable_op_determinism()


def _set_up_jax(params: ComputeParams, threads: int | None) -> None:
    import jax

    if threads is not None:
        # the default is the number of cores, and the last bits of gradients depend on it
        os.environ["PJRT_NPROC"] = str(threads)
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    )
    jax.config.update("jax_default_matmul_precision", "highest")
    if params.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    # DVC names the main workspace in DVC_ROOT, in the temporary folders of its experiments too. A
    # worker on a cluster is in no project.
    project = Path(os.environ.get("DVC_ROOT", "."))
    if has_accelerator() and (project / PIPELINE).exists():
        keep_compiled_code(project / COMPILED)


def keep_compiled_code(folder: Path) -> None:
    """Make JAX keep what it compiles from now on, and take what an earlier process has compiled.

    For cards: code for a CPU is that of one kind of processor. JAX knows code by the program, its
    own version, the card and the flags; a folder that cannot be written costs a warning. All of it
    can be deleted at any time.
    """
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    jax.config.update("jax_compilation_cache_max_size", COMPILED_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


def _set_up_torch(params: ComputeParams, threads: int | None) -> None:
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(
        threads or 1 if params.device == "cpu" or not has_accelerator() else available_cores()
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False
    if params.device == "cpu":
        keras.device("cpu").__enter__()  # for the rest of the process


def has_accelerator() -> bool:
    """Whether the backend sees a GPU or TPU and may use it."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.get_visible_devices("GPU"))
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    from keras.src.backend.torch.core import get_device

    return get_device() != "cpu"


def is_single_threaded() -> bool:
    """Whether the frozen pass uses one core per batch, so that several batches should run at once:
    TensorFlow on a CPU."""
    return keras.config.backend() == "tensorflow" and not has_accelerator()
