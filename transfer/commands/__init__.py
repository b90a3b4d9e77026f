"""Command-line programs: `python -m transfer NAME` calls NAME.main."""
