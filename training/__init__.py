"""Files in, checkpoints out; knows no store and no UI.

Started as a subprocess, never imported by the app.
"""
