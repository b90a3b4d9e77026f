"""Runs a LiteRT file on a CPU with XNNPACK, one row at a time; needs no TensorFlow."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from transfer.runtime.cores import available_cores, available_memory
from transfer.runtime.startup_messages import without_remarks

# Share of the memory that is free as a stage starts which all interpreters may fill: other stages
# may run beside it.
MEMORY_SHARE = 0.25


class InterpreterPool:
    """Interpreters of one LiteRT file; several threads may call `run` at once.

    XNNPACK adds each output's products in one fixed order whatever the number of threads, and every
    row goes through alone, so a row's output depends on this row only. Each calling thread takes
    an interpreter of its own, which are made as they are needed. An interpreter holds a packed copy
    of the weights; if memory allows fewer of them than there are cores, each gets several threads.

    Attributes:
        input_shape: of one row.
        output_shapes: of one row, by the name of the output.
    """

    def __init__(self, content: bytes, outputs: tuple[str, ...]):
        """
        Args:
            content: of the LiteRT file, with one input for one row, (1, ...).
            outputs: names of the file's outputs that `run` returns.

        Raises:
            ValueError: these bytes are no LiteRT file.
        """
        self._content, self._outputs = content, outputs
        interpreters, self._threads = divide_cores(
            available_cores(), 2 * len(content), available_memory()
        )
        self._room = threading.Semaphore(interpreters)
        self._idle: queue.SimpleQueue[_OneRow] = queue.SimpleQueue()
        with without_remarks():  # LiteRT makes its remark once in a process
            first = _OneRow(content, self._threads, outputs)
        self._idle.put(first)
        self.input_shape = first.input_shape
        self.output_shapes = dict(zip(outputs, first.output_shapes, strict=True))

    def run(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for some rows, each float32 (b, *output_shape), in the order of `outputs`."""
        found = [
            np.empty((len(rows), *self.output_shapes[name]), np.float32) for name in self._outputs
        ]
        with self._interpreter() as interpreter:
            for place, row in enumerate(rows):
                for output, value in zip(found, interpreter.run(row), strict=True):
                    output[place] = value
        return found

    @contextmanager
    def _interpreter(self) -> Iterator["_OneRow"]:
        with self._room:
            try:
                interpreter = self._idle.get_nowait()
            except queue.Empty:
                interpreter = _OneRow(self._content, self._threads, self._outputs)
            try:
                yield interpreter
            finally:
                self._idle.put(interpreter)


class _OneRow:
    """LiteRT's interpreter of one file, for one thread at a time."""

    def __init__(self, content: bytes, threads: int, outputs: tuple[str, ...]):
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        signature = self._interpreter.get_signature_runner()
        (taken,), given = signature.get_input_details().values(), signature.get_output_details()
        self._input, self._outputs = taken["index"], [given[name]["index"] for name in outputs]
        self.input_shape = _shape_of_row(taken)
        self.output_shapes = [_shape_of_row(given[name]) for name in outputs]

    def run(self, row: np.ndarray) -> list[np.ndarray]:
        """The outputs for one row, without the axis of the batch."""
        self._interpreter.set_tensor(self._input, np.asarray(row, np.float32)[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output)[0] for output in self._outputs]


def _shape_of_row(tensor: dict) -> tuple[int, ...]:
    return tuple(int(side) for side in tensor["shape"][1:])


def divide_cores(cores: int, interpreter_bytes: int, free_bytes: int) -> tuple[int, int]:
    """How many interpreters, and how many threads each: one thread per core in all, within
    MEMORY_SHARE of the free memory.

    Args:
        interpreter_bytes: of one interpreter; twice the file was measured for VGG16
            (docs/performance.md).
    """
    affordable = max(1, min(cores, int(MEMORY_SHARE * free_bytes) // interpreter_bytes))
    threads = -(-cores // affordable)
    return max(1, cores // threads), threads
