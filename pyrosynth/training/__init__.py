"""From a dataset to a run: batches, SVI, checkpoints, the zoo of models."""
