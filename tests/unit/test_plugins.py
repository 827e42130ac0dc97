"""The registry: what is listed, what is imported, and what a broken plugin may harm."""

import logging
import re
import sys

import pytest

from engineroom import decoding, encoding
from engineroom.errors import EngineError, PluginError
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings

ENGINE = """
from engineroom import Engine, hookimpl

class Made(Engine):
    name = "{name}"
    parent = "model_service.{name}_model_service.{name}Service"
    model_types = ("{name}Model",)
    model_files = ("*.{name}",)
    def load(self, path, device, threads): ...

@hookimpl
def register_engine(register):
    register(Made())
"""
DECODER = """
from engineroom import hookimpl

@hookimpl
def decode_request(content_type, body):
    if content_type == "text/csv":
        return {"rows": [line.split(",") for line in body.decode().splitlines()]}
"""
PLUGINS = "engineroom.plugins"


@pytest.fixture
def install_engine(install_plugin):
    def install(name, **options):
        install_plugin(name, ENGINE.format(name=name), **options)

    return install


def registry(**settings):
    return Registry(Settings.read(settings))


# --- engines


def test_engines_are_listed_without_being_imported(install_engine):
    install_engine("alpha")
    install_engine("beta")
    assert registry().names() == ["alpha", "beta"]
    assert not [name for name in sys.modules if name.startswith("engineroom_alpha")]


def test_an_engine_is_imported_alone_when_it_is_asked_for(install_engine):
    install_engine("alpha")
    install_engine("beta")
    assert registry().engine("beta").name == "beta"
    assert "engineroom_beta_engines" in sys.modules
    assert "engineroom_alpha_engines" not in sys.modules


def test_an_engine_is_made_once(install_engine):
    install_engine("alpha")
    plugins = registry()
    assert plugins.engine("alpha") is plugins.engine("alpha")


def test_an_engine_knows_the_distribution_it_comes_from(install_engine):
    install_engine("alpha")
    distribution = registry().distribution("alpha")
    assert (distribution.name, distribution.version) == ("engineroom-alpha", "1.2")
    assert registry().distribution("nosuch") is None


def test_an_engine_that_is_not_there_is_refused_with_those_that_are(install_engine):
    install_engine("alpha")
    with pytest.raises(EngineError, match="no engine is called 'nosuch'; installed engines: alpha"):
        registry().engine("nosuch")


def test_one_of_our_engines_that_is_not_there_is_refused_with_the_command_that_helps(
    install_engine,
):
    install_engine("alpha")
    with pytest.raises(EngineError, match=r"run: pip install 'engineroom\[tensorflow\]'"):
        registry().engine("tensorflow")


def test_two_distributions_with_one_engine_name_are_refused_with_both_names(install_engine):
    install_engine("alpha", distribution="one")
    install_engine("alpha", distribution="two")
    plugins = registry()
    assert plugins.names() == ["alpha"]
    with pytest.raises(EngineError, match="one and two both register it; uninstall one"):
        plugins.engine("alpha")


def test_two_plugins_that_register_one_engine_are_refused(install_engine, install_plugin):
    install_engine("alpha")
    install_plugin("other", ENGINE.format(name="alpha"))
    plugins = registry()
    assert plugins.engine("alpha")
    with pytest.raises(EngineError, match="two plugins register an engine called 'alpha'"):
        plugins.engine("other")


def test_a_plugin_that_registers_another_name_than_its_entry_point_s_is_refused(install_plugin):
    install_plugin("alpha", ENGINE.format(name="beta"))
    with pytest.raises(EngineError, match="registers no engine of that name"):
        registry().engine("alpha")


# --- broken plugins

BROKEN = {
    "not_python": "def",
    "needs": "import no_such_module",
    "exits": "raise RuntimeError('boom')",
    "refuses": """
        from engineroom import hookimpl

        @hookimpl
        def register_engine(register):
            raise ValueError('no licence')
        """,
    "argument": """
        from engineroom import hookimpl

        @hookimpl
        def register_engine(registry): ...
        """,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_reported_and_harms_no_other(install_plugin, install_engine, name):
    install_engine("good")
    install_plugin(name, BROKEN[name])
    plugins = registry()
    with pytest.raises(EngineError, match=f"engine '{name}' is installed and broken: .*Error"):
        plugins.engine(name)
    assert [engine.name for engine in plugins.usable()] == ["good"]


def test_a_plugin_that_breaks_at_start_is_logged_and_harms_no_other(
    install_plugin, install_engine, caplog
):
    install_engine("good")
    install_plugin("bad", "import no_such_module", PLUGINS)
    install_plugin("csv", DECODER, PLUGINS)
    plugins = registry()
    assert "plugin bad is broken: ModuleNotFoundError" in caplog.text
    assert plugins.decode("text/csv", b"1,2", b"") == {"rows": [["1", "2"]]}
    assert plugins.engine("good")


def test_a_plugin_that_breaks_while_it_registers_is_out_with_all_its_hooks(install_plugin):
    code = DECODER + "\n\n@hookimpl\ndef register_engine(register):\n    raise ValueError\n"
    install_plugin("half", code, PLUGINS)
    plugins = registry()
    assert "half" in plugins.broken
    assert plugins.decode is decoding.decode_request


@pytest.mark.parametrize("group", [PLUGINS, "engineroom.engines"])
def test_a_misspelled_hook_is_a_plugin_error_at_start(install_plugin, group):
    install_plugin(
        "typo", "from engineroom import hookimpl\n@hookimpl\ndef after_laod(model): ...\n", group
    )
    with pytest.raises(PluginError, match=r"plugin 'typo'.*after_laod.*see HOOKS\.md"):
        registry().engine("typo")


def test_a_misspelled_hook_is_not_blamed_on_the_next_plugin(install_plugin, install_engine):
    install_plugin("typo", "from engineroom import hookimpl\n@hookimpl\ndef after_laod(): ...\n")
    install_engine("good")
    plugins = registry()
    with pytest.raises(PluginError, match="'typo'"):
        plugins.engine("typo")
    assert plugins.engine("good").name == "good"


def test_a_plugin_and_an_engine_may_have_one_name(install_plugin, install_engine):
    install_plugin("alpha", DECODER, PLUGINS, distribution="alpha-hooks")
    install_engine("alpha", distribution="alpha-engine")
    plugins = registry()
    assert plugins.engine("alpha").name == "alpha"
    assert plugins.decode("text/csv", b"1", b"") == {"rows": [["1"]]}


# --- blocking and tracing


def test_a_blocked_engine_is_never_imported_and_says_what_blocks_it(install_engine, monkeypatch):
    install_engine("alpha")
    install_engine("beta")
    monkeypatch.setenv("ENGINEROOM_BLOCK_PLUGINS", "other, alpha")
    plugins = registry()
    with pytest.raises(EngineError, match="blocked by ENGINEROOM_BLOCK_PLUGINS"):
        plugins.engine("alpha")
    assert "engineroom_alpha_engines" not in sys.modules
    assert [engine.name for engine in plugins.usable()] == ["beta"]


def test_a_blocked_plugin_is_never_imported(install_plugin):
    install_plugin("csv", DECODER, PLUGINS)
    plugins = registry(block_plugins="csv")
    assert "engineroom_csv_plugins" not in sys.modules
    assert plugins.decode is decoding.decode_request


def test_a_list_of_engines_says_which_are_blocked_and_which_are_broken(
    install_plugin, install_engine
):
    for name in ("alpha", "beta"):
        install_engine(name)
    install_plugin("gamma", "import no_such_module")
    plugins = registry(block_plugins="beta")
    list(plugins.usable())
    with pytest.raises(EngineError, match=r"installed engines: alpha, beta \(blocked\), gamma"):
        plugins.engine("nosuch")


def test_tracing_logs_every_hook_call(install_plugin, caplog):
    caplog.set_level(logging.INFO, "engineroom")
    install_plugin("csv", DECODER, PLUGINS)
    plugins = registry(trace_hooks=True)
    plugins.decode("application/json", b'{"a": 1}', b"")
    plugins.encode({"a": 1})
    hooks = [line for line in caplog.messages if line.startswith("hook ")]
    assert any("decode_request [hook]" in line for line in hooks)
    assert any("encode_response [hook]" in line for line in hooks)


# --- hooks of requests


def test_without_plugins_the_built_in_decoder_and_encoder_are_called_directly(install_engine):
    install_engine("alpha")
    plugins = registry()
    assert plugins.decode is decoding.decode_request
    assert plugins.encode is encoding.encode_response


def test_a_decoding_plugin_wins_over_the_built_in_and_leaves_it_the_rest(install_plugin):
    install_plugin("csv", DECODER, PLUGINS)
    decode = registry().decode
    assert decode("text/csv", b"1,2\n3,4", b"") == {"rows": [["1", "2"], ["3", "4"]]}
    assert decode("application/json", b'{"a": 1}', b"b=2") == {"a": 1, "b": "2"}


def test_a_decoding_plugin_may_take_over_json_itself(install_plugin):
    code = "from engineroom import hookimpl\n@hookimpl\ndef decode_request(body): return [body]\n"
    install_plugin("raw", code, PLUGINS)
    assert registry().decode("application/json", b"{}", b"") == [b"{}"]


def test_an_encoding_plugin_wins_over_the_built_in_and_leaves_it_the_rest(install_plugin):
    code = """
        from engineroom import hookimpl

        @hookimpl
        def encode_response(result):
            return b"mine" if result == "special" else None
        """
    install_plugin("special", code, PLUGINS)
    encode = registry().encode
    assert (encode("special"), encode("other")) == (b"mine", b'"other"')


def test_a_plugin_of_the_second_group_may_register_engines_too(install_plugin):
    install_plugin("many", ENGINE.format(name="alpha"), PLUGINS)
    plugins = registry()
    assert plugins.names() == ["alpha"]
    assert plugins.engine("alpha").name == "alpha"


# --- the engine of a package


@pytest.fixture
def two_engines(install_engine):
    install_engine("alpha")
    install_engine("beta")
    return registry()


def test_the_user_s_choice_comes_first(two_engines, package):
    opened = open_package(package(**{"m.alpha": "", "config.json": '{"model_type": "alpha"}'}))
    assert two_engines.engine_for(opened, "beta", None).name == "beta"


def test_the_script_s_parent_class_comes_before_config_json(two_engines, package):
    opened = open_package(package("", **{"config.json": '{"model_type": "alpha"}'}))
    parent = "model_service.beta_model_service"
    assert two_engines.engine_for(opened, None, parent).name == "beta"


@pytest.mark.parametrize("kind", ["alpha", "Alpha", "alphaModel", "ALPHAMODEL"])
def test_model_type_finds_the_engine_in_any_case(two_engines, package, kind):
    opened = open_package(package(**{"m.beta": "", "config.json": f'{{"model_type": "{kind}"}}'}))
    assert two_engines.engine_for(opened, None, None).name == "alpha"


def test_without_any_of_these_the_model_files_decide(two_engines, package):
    opened = open_package(package(**{"m.beta": ""}))
    assert two_engines.engine_for(opened, None, None).name == "beta"


def test_model_files_of_two_engines_leave_the_choice_to_the_user(two_engines, package):
    opened = open_package(package(**{"m.alpha": "", "m.beta": ""}))
    with pytest.raises(
        EngineError,
        match=r"alpha \(m.alpha\) and beta \(m.beta\) both fit; choose one with --engine",
    ):
        two_engines.engine_for(opened, None, None)


def test_a_model_type_that_nobody_recognises_is_quoted(two_engines, package):
    opened = open_package(package(**{"config.json": '{"model_type": "Caffe"}'}))
    with pytest.raises(EngineError, match="config.json: \"model_type\" is 'Caffe', which no"):
        two_engines.engine_for(opened, None, None)


def test_a_model_type_of_ours_that_is_not_installed_says_what_to_install(two_engines, package):
    opened = open_package(package(**{"config.json": '{"model_type": "MindSpore"}'}))
    with pytest.raises(EngineError, match=r"pip install 'engineroom\[mindspore\]'"):
        two_engines.engine_for(opened, None, None)


@pytest.mark.parametrize(
    ("parent", "engine"),
    [
        ("model_service.tfserving_model_service", "tensorflow"),
        ("model_service.pytorch_model_service", "pytorch"),
        ("model_service.model_service", "mindspore"),
        ("model_service.onnx_model_service", "onnx"),
    ],
)
def test_a_parent_class_of_ours_that_is_not_installed_says_what_to_install(
    two_engines, parent, engine
):
    engine_of_nobody = two_engines.engine_with_parent(parent)
    assert engine_of_nobody.name == "none"
    message = str(engine_of_nobody.refusal)
    assert re.match(rf"{parent}\.\w+ needs .*pip install 'engineroom\[{engine}\]'", message)


def test_a_parent_class_that_nobody_knows_is_an_error_that_names_what_is_installed(two_engines):
    with pytest.raises(EngineError, match=r"nosuch, which no usable engine has; installed engines"):
        two_engines.engine_with_parent("model_service.nosuch")


def test_a_folder_without_anything_known_is_told_what_is_in_it(two_engines, package):
    opened = open_package(package(**{"weights.bin": "", "notes.txt": ""}))
    with pytest.raises(EngineError, match="found notes.txt, weights.bin; installed engines"):
        two_engines.engine_for(opened, None, None)


def test_a_bare_file_that_no_engine_reads_is_named(two_engines, tmp_path):
    (tmp_path / "model.xyz").touch()
    opened = open_package(tmp_path / "model.xyz")
    with pytest.raises(EngineError, match="model.xyz: no engine reads this file"):
        two_engines.engine_for(opened, None, None)
