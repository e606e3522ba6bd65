"""The supernet: making, sorting, inspecting and compiling it; its folder, and its registry of names."""
