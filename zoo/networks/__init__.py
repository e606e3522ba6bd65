"""The networks that the named supernets are made of."""
