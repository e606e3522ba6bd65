"""Helpers that know nothing of supernets: files, text, progress, packages, inputs and hooks."""
