"""The pictures of the documents show what the documents say."""

from __future__ import annotations

import numpy as np

from fastmlp.report import pictures


def test_learning_rates_too_small_right_and_too_large():
    start, small, right, large = (
        pictures.descent(0.6)[1][0],
        *(pictures.descent(lr)[1][-1] for lr in (0.05, 0.6, 1.25)),
    )
    assert right < 0.1 * start < small < start < large


def test_sigmoid_vanishes_relu_keeps_doubled_weights_explode():
    norms = pictures.gradient_norms(pictures.deep_network("sigmoid"))
    assert norms[0] < 1e-6 * norms[-1]
    norms = pictures.gradient_norms(pictures.deep_network("relu"))
    assert 0.1 < norms[0] / norms[-1] < 10
    assert pictures.gradient_norms(pictures.deep_network("relu", 2.0)).min() > 1e3 * norms.max()


def test_signal_forward():
    spread = pictures.spreads(pictures.deep_network("sigmoid"))
    assert spread[-1] < 1e-6 * spread[0]
    relu, doubled = (pictures.spreads(pictures.deep_network("relu", f)) for f in (1.0, 2.0))
    # ReLU is homogeneous: doubling all 13 weight matrices makes the output 2^13 times as large.
    np.testing.assert_allclose(doubled[-1] / relu[-1], 2.0**13)


def test_pictures_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(pictures.PICTURES, "gradients", pictures.draw_learning_rate)
    pictures.main(tmp_path / "new")
    for name in pictures.PICTURES:
        assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
