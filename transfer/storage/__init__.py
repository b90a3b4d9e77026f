"""Arrays as .npy files or shards, on disk or in a bucket."""
