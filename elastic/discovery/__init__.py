"""Discovery: a layout, found by watching a model run on tensors without data, then written and tried."""
