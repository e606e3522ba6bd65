"""Costs: exact MACs, parameters and peak memory of any subnet, without activating it."""
