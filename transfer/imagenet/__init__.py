"""What the command `label` alone is made of: the networks as they were trained, with their tops,
and the names of the 1,000 classes."""
