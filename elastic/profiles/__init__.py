"""Device profiles: blocks and whole subnets, measured here or on a device where nothing is installed."""
