"""A metric of any subnet, predicted from measurements of some."""
