"""A trained classifier as files for other programs, and the runtimes that check these files."""
