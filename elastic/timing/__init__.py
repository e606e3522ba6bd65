"""Timing one forward pass: the protocol, its settings, and the runtimes."""
