"""The trained classifiers: architectures, and saving and loading."""
