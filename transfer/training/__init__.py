"""The training loop: batches, optimizers, schedules, unfreezing."""
