"""Data modules, their batches and metrics."""
