"""Pretrained networks: the registry, sources of their weights, and the network cut in two."""
