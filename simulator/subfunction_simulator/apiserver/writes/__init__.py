"""A write turns a body into a stored object, or is refused.

Here live decoding, validation, patches, owners of fields with server-side apply, and the order of the steps.
It may import `storage` and what is below that, and nothing of `answers`.
Nothing in it awaits, so each write is one indivisible step.
A newcomer begins with `registry.py`.
"""
