"""One optimiser step over several subnets, on one or several processes."""
