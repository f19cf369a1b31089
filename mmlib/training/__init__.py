"""Training a run: the loop, its checkpoints, its signals, and agents made of a checkpoint."""
