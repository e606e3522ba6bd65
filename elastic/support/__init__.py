"""Files, text, progress, packages, inputs and hooks: helpers that know nothing of supernets."""
