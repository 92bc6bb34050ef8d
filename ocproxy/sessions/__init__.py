"""Which conversation a call belongs to, and which of its messages are new. Pure."""
