"""Labelled photos to files and back, one format a file; knows no torch, no store and no UI."""
