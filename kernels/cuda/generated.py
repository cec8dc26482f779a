"""Kernels of generated text: Python in the simulator, LLVM IR for a GPU."""

from __future__ import annotations

from typing import Any

from .jit import SIMULATED, kernel, source

if not SIMULATED:
    from .translate import kernel_body


def generated(name: str, arguments: str, body: str, namespace: dict[str, Any]) -> Any:
    """The kernel `name(arguments)` with these lines, indented once; `namespace` holds what they
    name."""
    text = f"def {name}({arguments}):\n{body}\n"
    if not SIMULATED:
        namespace = {"body": kernel_body(arguments, text, namespace)}
        text = f"def {name}({arguments}):\n    body({arguments})\n"
    return kernel(source(name, text, namespace))
