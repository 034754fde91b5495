"""Studies: what to compute, in which order, where, and how to ask for it from the command line."""
