"""Which subnets there are: sizes, dims, archs, the search space, and tables over its choices."""
