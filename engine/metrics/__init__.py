"""How good boxes and masks are, measured against the truth; pure functions."""
