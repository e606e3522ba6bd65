"""Published weights, encodings and latency tables of other projects, read and converted."""
