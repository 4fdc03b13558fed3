"""Studies: trials over a space of parameters, the best of them wanted."""
