"""Strategies for values of any type, as a table, a header or params.yaml may have them."""

from hypothesis import strategies as st

TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        "1e400",
        "-0",
        "0x10",
        "1:2",
        "2020-99-99",
        "nan",
        "((((",
        "a{1,",
        "[[a]]",
        "(?P<",
        "~",
        "a{9999999999}",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | TEXTS
    | st.binary(max_size=4)
    | st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
