"""Pro2SAM's tables, redone on made-up photos with small networks; see `__main__` for how to run."""
