"""Where the maps over images run: in this process, or on a cluster."""
