"""Discovery: which sizes a model has, found by watching it run; a layout is written from it, and tried."""
