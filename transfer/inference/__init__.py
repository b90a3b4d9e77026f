"""What the command `predict` alone is made of: any images in, a row each out, by a model that the
stages have trained."""
