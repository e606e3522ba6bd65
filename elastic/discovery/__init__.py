"""Finding a layout by watching a model run on tensors without data: which axes are equal, then a layout, then a trial."""
