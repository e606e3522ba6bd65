"""Search: the best subnets within a budget."""
