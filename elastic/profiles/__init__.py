"""One device, measured: blocks and whole subnets, here or on a device where nothing is installed."""
