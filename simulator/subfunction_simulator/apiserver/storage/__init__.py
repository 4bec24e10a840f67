"""The store keeps objects and their history, and watches read from it.

Here live the store, the selectors of lists and watches, and the watches.
It may import `kinds` and what is below that.
It judges nothing: what may be stored is said in `writes`.
A newcomer begins with `store.py`.
"""
