"""Training and evaluation under attack."""
