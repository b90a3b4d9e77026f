"""The one exception that a person is meant to read."""


class PipelineError(Exception):
    """A mistake in the input or the parameters: what was wrong, where, the value, and what to do.

    `transfer.runtime.stage.run_stage` prints it without a traceback and exits with 1.
    """
