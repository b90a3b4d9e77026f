"""The frozen pass over all images, and its cache."""
