"""How long one run takes: the protocol, its settings, and the runtimes that it measures."""
