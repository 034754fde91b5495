"""What each stage does: thin functions from stored inputs to a result, calling the science modules."""
