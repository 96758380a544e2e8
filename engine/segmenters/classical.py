"""Masks without weights: a photo and a box in, a mask out."""

from engine.segmenters.grabcut import box_to_mask

__all__ = ["box_to_mask"]
