"""The best subnets within a budget."""
