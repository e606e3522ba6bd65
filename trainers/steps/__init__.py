"""One optimiser step over several subnets, on one process or several."""
