"""Subnets as files: exported, checked, described, loaded again, published."""
