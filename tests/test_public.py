"""The public surface: what is exported is documented, and nothing is exported by accident."""

import importlib
import inspect
import types

import pytest

import elastic

ROOMS = ["elastic", "trainers", "zoo"]


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_exported_exists_and_is_documented(room):
    module = importlib.import_module(room)
    exported = getattr(module, "__all__", [])
    for name in exported:
        thing = getattr(module, name)
        assert not isinstance(thing, types.ModuleType), f"{room}.{name} is a module"
        assert inspect.getdoc(thing), f"{room}.{name} has no docstring"


def test_the_design_s_names_are_there():
    for name in ("elasticize", "recalibrate", "DeviceProfile", "search", "export", "Recipe", "Arch", "SearchSpace"):
        assert name in elastic.__all__


def test_every_error_is_one_of_ours():
    errors = importlib.import_module("elastic.errors")
    for name, thing in vars(errors).items():
        if isinstance(thing, type):
            assert issubclass(thing, elastic.ElasticError), name
            assert name in inspect.getdoc(errors)
