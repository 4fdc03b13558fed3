"""A graph of steps carried out as one run."""
