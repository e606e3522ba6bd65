"""Named supernets: builders, cards, checkpoints, importers of published weights."""
