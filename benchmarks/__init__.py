"""What the daemon costs: every figure beside the floor or a peer, measured in the same run."""
