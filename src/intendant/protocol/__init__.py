"""What travels between processes and what it means; no input, no output, no clock."""
