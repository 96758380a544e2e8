"""Measurements that the docs quote; each file says how to run it and prints what it found."""
