"""The subnets that exist: sizes, dims, archs, the search space, and tables over its choices."""
