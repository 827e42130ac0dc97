"""The hook contract: its form. What the hooks do is tested where they fire."""

import inspect

import pluggy
import pytest

from engineroom import hookspecs

NAMES = [name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), "engineroom_spec")]


def test_the_hooks_are_declared_in_the_order_in_which_they_fire():
    assert NAMES == [
        "register_engine",
        "before_load",
        "after_load",
        "after_warm_up",
        "decode_request",
        "encode_response",
        "before_unload",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_hook_says_when_it_fires_what_becomes_of_results_and_what_it_may_raise(name):
    text = inspect.getdoc(getattr(hookspecs, name))
    assert [word for word in ("Fires:", "Results:", "May raise:") if word not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_hook_is_annotated_and_synchronous(name):
    function = getattr(hookspecs, name)
    assert not inspect.iscoroutinefunction(function)
    assert set(function.__annotations__) == {*inspect.signature(function).parameters, "return"}


def test_a_decoder_and_an_encoder_answer_for_all_and_everybody_else_only_looks():
    manager = pluggy.PluginManager(hookspecs.NAMESPACE)
    manager.add_hookspecs(hookspecs)
    first = [name for name in NAMES if getattr(manager.hook, name).spec.opts["firstresult"]]
    assert first == ["decode_request", "encode_response"]


def test_an_implementation_may_leave_out_arguments():
    seen = []

    class Plugin:
        @hookspecs.hookimpl
        def after_load(self, seconds):
            seen.append(seconds)

    manager = pluggy.PluginManager(hookspecs.NAMESPACE)
    manager.add_hookspecs(hookspecs)
    manager.register(Plugin())
    manager.hook.after_load(model=None, seconds=1.5)
    assert seen == [1.5]
