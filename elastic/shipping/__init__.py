"""A subnet as files: exported, checked, described, loaded again, published."""
