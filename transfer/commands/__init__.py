"""What people run: `python -m transfer NAME` calls NAME.main."""
