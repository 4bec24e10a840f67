"""Recordings of what kernels answer: read, reduced to one answer of each form, and compared."""
