"""`python -m transfer sweep`: search for better values of the trainings' parameters."""

from transfer.commands.sweep.search import main

__all__ = ["main"]
