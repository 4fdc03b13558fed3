"""The process that owns one attempt of a run."""
