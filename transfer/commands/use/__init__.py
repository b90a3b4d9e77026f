"""`python -m transfer use`: look at a source of images and write params.yaml for it."""

from transfer.commands.use.command import main

__all__ = ["main"]
