"""Benchmarks: what amzmq reaches beside its limits and its peers, measured in turn.

`python -m bench NAME` runs one; docs/benchmarks.md says what each of them measures.
"""
