"""What goes when it is old or must be forgotten, and what goes with it: rows first, then the bytes in the journals."""
