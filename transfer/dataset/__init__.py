"""The manifest, the splits, perceptual hashes, and the examples of a split."""
