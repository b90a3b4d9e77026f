"""The command `label`: pretrained networks with their original tops, and the names of the 1,000
classes."""
