"""Detectors that learn from labels with planted errors: whether RoI drop helps, and finds them."""
