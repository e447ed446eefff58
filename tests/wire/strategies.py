"""Values and names as they may travel, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

names = st.text(min_size=1, max_size=8)
int64 = st.integers(-(2**63), 2**64 - 1)
naturals = st.integers(0, 2**64 - 1)
scalars = st.none() | st.booleans() | int64 | st.floats(allow_nan=False) | st.text() | st.binary()
keys = st.text() | int64 | st.binary() | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
