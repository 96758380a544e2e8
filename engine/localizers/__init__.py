"""Image in, coarse map of where the foreground is out: h x w in [0, 1]."""
