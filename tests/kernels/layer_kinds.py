"""What may stand around the layers of a network, drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from fastmlp.kernels import codes

# Most networks are plain ones.
layer_kinds = st.fixed_dictionaries({
    "norms": st.one_of(
        st.just(["none"] * 3), st.lists(st.sampled_from(codes.NORMS), min_size=3, max_size=3)
    ),
    "connected": st.sampled_from([False, False, True]),
    "equal": st.booleans(),
    "tables": st.one_of(
        st.just([]),
        st.lists(
            st.tuples(st.integers(0, 69), st.integers(1, 40), st.integers(1, 20)), max_size=3
        ),
    ),
})  # fmt: skip


def with_kinds(sizes: list[int], drawn: dict) -> tuple[list[int], dict]:
    """The sizes, hidden layers equal where that was drawn, and the settings of a network.

    Layers that are equal and connected are as wide as the first one's input: it is connected too.
    """
    n_hidden = len(sizes) - 2
    embeddings = {column % sizes[0]: (n, width) for column, n, width in drawn["tables"]}
    n_inputs = sizes[0] + sum(width - 1 for _, width in embeddings.values())
    if drawn["equal"] and n_hidden:
        n_units = n_inputs if drawn["connected"] else sizes[1]
        sizes = [sizes[0], *[n_units] * n_hidden, sizes[-1]]
    widths = [n_inputs, *sizes[1:]]
    residual = [drawn["connected"] and widths[i] == widths[i + 1] for i in range(n_hidden)]
    return sizes, {
        "norm": drawn["norms"][:n_hidden], "residual": residual, "embeddings": embeddings
    }  # fmt: skip
