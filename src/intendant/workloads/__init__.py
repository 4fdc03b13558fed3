"""What a run does: each kind of workload in a module of its own."""
