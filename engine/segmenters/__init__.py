"""Masks from prompts: photo and clicks, box or mask in, ranked masks out."""
