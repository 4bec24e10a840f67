"""A kind of object has a group, a version, columns, a schema and rules.

Here live Kubernetes' own kinds, those of CRDs, their schemas and CEL rules, and the paths that name objects.
It may import `objects` and `status`.
Kubernetes' own kinds have no schema here: they are stored as given.
A newcomer begins with `resources.py`, then `catalogue.py`.
"""
