"""The programs that turn SubFunction objects into kernel state."""
