"""Coding agents: who is calling, what its tools mean, what their results say. One file an agent; see `base`."""
