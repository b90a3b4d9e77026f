"""How a process of the project runs: stages, parameters, files, checksums, errors,
cores, checkpoints."""
