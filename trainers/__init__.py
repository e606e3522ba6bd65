"""How a supernet learns: the Lightning module, curricula, samplers, losses, data and the command line."""
