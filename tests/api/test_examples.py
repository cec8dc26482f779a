"""The examples of the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import fastmlp

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(fastmlp.__path__, "fastmlp.")
    if not name.startswith(("fastmlp.kernels", "fastmlp.cli"))
    and not name.endswith(("__main__", "pytest_plugin"))  # which act when they are imported
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_public_classes_have_examples():
    for public in (fastmlp.Network, fastmlp.Network.fit, fastmlp.Network.save, fastmlp.History):
        assert ">>>" in public.__doc__
