"""A layer that is not plain in guarded memory, and the kernels that take the whole way."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.cpu import layer_kinds
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.layer_kinds import LAYER_KINDS
from fastmlp.kernels.structs import Job, Layer, Sync
from tests.reference import norms as reference
from tests.reference.products import padded, padded_rows

from .tools import TALLEST, Memory, compiled, nans


class Part(NamedTuple):
    """What these kernels use of a program."""

    params: Any
    work: Any
    running: Any
    layers: Any
    job: Any
    sync: Any


@compiled
def normalise(p, layer, r0, r1, n_rows):
    return layer_kinds.between_forward(p, layer, 0, r0, r1, n_rows)


@compiled
def normalise_backward(p, layer, r0, r1, n_rows):
    return layer_kinds.between_backward(p, layer, 0, r0, r1, n_rows)


class Case:
    """Such a layer: NaN where outputs go and between the rows."""

    def __init__(self, dtype, kind, n_rows, n_units, *, z=None, seed=0):
        rng, lanes = np.random.default_rng(seed), LANES[dtype]
        self.dtype, self.kind, self.n_rows, self.n_units = dtype, kind, n_rows, n_units
        self.out_pad = padded(n_units, lanes)
        self.ld, self.n_chunks = self.out_pad + lanes, -(-n_rows // TALLEST)
        self.z = 2.0 * rng.standard_normal((n_rows, n_units)) + 0.5 if z is None else z
        self.z = self.z.astype(dtype).astype(float)
        self.scale, self.bias = rng.uniform(0.5, 1.5, n_units), rng.standard_normal(n_units)
        self.dn = rng.standard_normal((n_rows, n_units))
        n_statistics = LAYER_KINDS[kind].statistics_elems(n_rows, self.out_pad, self.n_chunks)
        self.params = Memory(dtype, scale=self.vector(self.scale), bias=self.vector(self.bias))
        self.work = Memory(
            dtype, normed=self.rows(self.z), act_out=nans(n_rows, self.ld), dz=self.rows(self.dn),
            statistics=nans(n_statistics), sums=nans(self.n_chunks, 2, self.out_pad),
        )  # fmt: skip
        self.running = Memory(
            dtype, running=np.stack([self.vector(self.bias), self.vector(self.scale)])
        )
        # What the kernels really read, rounded.
        self.scale, self.bias = (self.params[name][:n_units].astype(float)
                                 for name in ("scale", "bias"))  # fmt: skip
        self.dn = self.work["dz"][:, :n_units].astype(float)
        self.job = np.zeros(Job.N_FIELDS, np.int64)
        self.sync = np.zeros(Sync.N_FIELDS + 3, np.int64)
        self.job[Job.N_THREADS], self.job[Job.N_LAYERS], self.sync[Sync.SPIN_NS] = 1, 1, 1

    def vector(self, values):
        return padded_rows(np.asarray(values)[None], self.out_pad)[0]

    def rows(self, values):
        """Zeros up to whole vectors, as products leave them, and NaN beyond."""
        full = nans(len(values), self.ld)
        full[:, : self.out_pad] = padded_rows(values, self.out_pad)
        return full

    @property
    def layer(self):
        work, params = self.work.at, self.params.at
        fields = dict.fromkeys(Layer._fields, 0) | {
            "n_out": self.n_units, "out_pad": self.out_pad, "ld_out": self.ld,
            "norm": codes.NORMS.index(self.kind), "n_vectors": len(LAYER_KINDS[self.kind].vectors),
            "keeps_running": LAYER_KINDS[self.kind].keeps_running,
            "scale": params["scale"], "bias": params["bias"],
            "normed": work["normed"], "act_out": work["act_out"], "dz": work["dz"],
            "statistics": work["statistics"], "sums": work["sums"],
            "running": self.running.at["running"],
        }  # fmt: skip
        return Layer(**fields)

    @property
    def part(self):
        layers = np.array(self.layer, np.int64)
        return Part(
            self.params.data, self.work.data, self.running.data, layers, self.job, self.sync
        )

    def of_columns(self):
        """(3, out_pad) mean, 1 / deviation, variance, and (chunks, 2, out_pad) the moments."""
        statistics = self.work["statistics"].reshape(-1, self.out_pad)
        return statistics[:3], statistics[3:].reshape(self.n_chunks, 2, self.out_pad)

    def check_guards(self):
        for memory in (self.params, self.work, self.running):
            memory.check_guards()

    def check(self, name, wanted, r0=0, r1=None, tolerance=60.0):
        """Rows r0 to r1 of a buffer, padding and the rest of it; the error in units of eps."""
        r1 = self.n_rows if r1 is None else r1
        found, limit = self.work[name], tolerance * np.finfo(self.dtype).eps
        error = np.abs(found[r0:r1, : self.n_units] - wanted[r0:r1])
        assert (error <= limit * (1.0 + np.abs(wanted[r0:r1]))).all()
        assert (found[r0:r1, self.n_units : self.out_pad] == 0.0).all()
        assert np.isnan(found[:, self.out_pad :]).all()
        self.check_guards()

    def forward(self):
        normalise(self.part, self.layer, 0, self.n_rows, self.n_rows)
        self.check_guards()

    def wanted(self):
        """Z^, 1 / deviation and N."""
        normed, inverse = reference.normalise(self.kind, self.z)
        return normed, inverse, normed * self.scale + self.bias

    def wanted_dz(self):
        normed, inverse, _ = self.wanted()
        return reference.normalise_backward(self.kind, self.dn * self.scale, normed, inverse)
