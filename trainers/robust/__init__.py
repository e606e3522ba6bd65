"""Training and judging under attack."""
