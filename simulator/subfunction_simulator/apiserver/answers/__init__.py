"""An answer has the form that its client asked for.

Here live tables, pages, the negotiation of forms, discovery and OpenAPI v3.
It may import `storage` and what is below that, and nothing of `writes`.
It changes nothing.
A newcomer begins with `accept.py`.
"""
