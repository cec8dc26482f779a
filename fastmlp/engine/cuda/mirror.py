"""Arrays that live on the host and on a GPU: copied over when the other side is newer."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.cuda.launch import Gpu


class Mirror:
    """One array (n,) on both sides.

    Whoever takes the host's array may write to it, so it counts as newer from then on. While
    kernels of a training write to the device's, which is lent to them, it is read and no more:
    another thread that looks at the weights must not put old ones in the place of new ones.
    """

    def __init__(self, gpu: Gpu, host: np.ndarray) -> None:
        self._gpu, self._host = gpu, host
        self._device: Any = None
        self._host_is_newer, self._device_is_newer, self._is_lent = True, False, False

    @property
    def n_bytes(self) -> int:
        return self._host.nbytes

    def host(self) -> np.ndarray:
        """The array on the host, as it is now; to read and to write."""
        host = self.peek()
        self._host_is_newer = not self._is_lent
        return host

    def peek(self) -> np.ndarray:
        """The array on the host, to read only."""
        if self._device_is_newer or self._is_lent:
            self._gpu.read(self._device, self._host)
            self._device_is_newer = False
        return self._host

    def device(self) -> Any:
        """The array on the device, as it is now; a kernel that writes it calls `changed`."""
        if self._device is None:
            self._device, self._host_is_newer = self._gpu.array(self._host), False
        if self._host_is_newer:
            self._gpu.write(self._device, self._host)
            self._host_is_newer = False
        return self._device

    def lend(self) -> None:
        """Kernels write to the device's array, as it is now, until `changed`."""
        self.device()
        self._is_lent = True

    def changed(self) -> None:
        """Kernels have written to the device's array."""
        self._device_is_newer, self._host_is_newer, self._is_lent = True, False, False

    def replace(self, host: np.ndarray) -> None:
        """Another array in its place; the device's is kept where it has the same size."""
        if self._device is not None and len(host) != len(self._host):
            self._device = None
        self._host, self._host_is_newer, self._device_is_newer = host, True, False
