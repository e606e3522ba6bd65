"""The commands' work on trained supernets: opening, judging subnets, search, writing a subnet, conformance."""
