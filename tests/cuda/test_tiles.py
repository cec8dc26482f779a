"""The choice of tiles and parts, by sizes alone."""

import pytest

from fastmlp.engine.cuda.plan import GradientPlan
from fastmlp.kernels.cuda import tile
from fastmlp.kernels.cuda.tile import OF_GPUS, tile_and_parts, tile_for
from fastmlp.layout.parameters import LayerPlan, ParameterPlan

LARGE, MIDDLE, SMALL = OF_GPUS[4]


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(tile, "TILES", OF_GPUS)
    monkeypatch.setattr(tile, "MULTIPROCESSORS", 128)


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_terms", "wanted"),
    [
        (4096, 4096, 4096, LARGE), (8192, 1024, 1024, LARGE), (1 << 18, 128, 64, LARGE),
        (8192, 12, 128, SMALL), (65536, 32, 32, SMALL), (1 << 18, 64, 64, MIDDLE),
        (128, 256, 784, SMALL), (1, 4, 4, SMALL), (32, 32, 32, SMALL),
    ],
)  # fmt: skip
def test_tiles_neither_leave_multiprocessors_idle_nor_compute_what_is_not_there(
    n_rows, n_columns, n_terms, wanted
):
    assert tile_for(n_rows, n_columns, n_terms, 4) == wanted


@pytest.mark.parametrize(
    ("sizes", "n_terms"),
    [((784, 256), 8192), ((784, 256), 128), ((64, 64), 1 << 18), ((4096, 4096), 4096), ((4, 4), 1)],
)
def test_parts_fill_a_gpu_as_far_as_there_are_rows(sizes, n_terms):
    chosen, n_parts = tile_and_parts(*sizes, n_terms, 4, 128)
    n_blocks = chosen.n_blocks(*sizes) * n_parts
    assert 1 <= n_parts <= max(1, n_terms // 128)
    few = n_terms // 128 * SMALL.n_blocks(*sizes) < 128
    assert n_blocks >= 96 or few or n_parts == tile.MOST_PARTS


def test_parts_have_all_rows_once():
    plan = ParameterPlan.make((784, 256, 10), 4, ("none", "none"), (), has_panels=False)
    for batch_size in (1, 7, 128, 1000, 8192, 8193, 65536):
        for layer in plan.layers:
            assert isinstance(layer, LayerPlan)
            made = GradientPlan.make(layer, batch_size, 4, 0)
            assert (made.n_parts - 1) * made.run < batch_size <= made.n_parts * made.run
            assert made.run % made.tile.depth == 0
