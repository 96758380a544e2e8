"""The project on disk and the person in front of it."""

__version__ = "0.1.0"
