"""The supernet itself, what is done to it, and how it is saved and found again."""
