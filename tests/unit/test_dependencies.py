"""`dependencies` of config.json: how it is read, and how it compares with what is installed."""

import json
import random

import pytest
from packaging.specifiers import SpecifierSet

from engineroom import load
from engineroom.dependencies import absent, compare, declared
from engineroom.package import open_package


@pytest.fixture
def declaring(package):
    """The package whose config.json has these ``dependencies``."""

    def write(dependencies, **files):
        text = json.dumps({"dependencies": dependencies})
        return open_package(package(**{"config.json": text, **files}))

    return write


def one(name, version=None, restraint=None, **more):
    fields = {"package_name": name, "package_version": version, "restraint": restraint, **more}
    return {key: value for key, value in fields.items() if value is not None}


def group(*packages, **more):
    return {"installer": "pip", "packages": list(packages), **more}


def requirements(package):
    return [dependency.requirement() for dependency in declared(package)[0]]


def oddities(package):
    """What ``deps`` tells: notes are for ``check``."""
    return [remark.message for remark in declared(package)[1] if remark.level == "warning"]


def status(package):
    (only,) = compare(declared(package)[0], package)
    return only


# --- how it is read


def test_packages_keep_their_order_within_a_group_and_across_groups(declaring):
    opened = declaring([group(one("b"), one("a")), group(one("c"))])
    assert [(d.group, d.order, d.name) for d in declared(opened)[0]] == [
        (1, 1, "b"), (1, 2, "a"), (2, 1, "c"),
    ]  # fmt: skip
    assert oddities(opened) == []


@pytest.mark.parametrize(
    ("restraint", "operator"),
    [
        ("EXACT", "=="), ("exact", "=="), ("ATLEAST", ">="), ("AtLeast", ">="), ("ATMOST", "<="),
        ("AT_LEAST", ">="), ("==", "=="), (">=", ">="), ("<=", "<="), ("~=", "~="), ("=", "=="),
    ],
)  # fmt: skip
def test_a_restraint_is_read_in_any_case_and_as_an_operator(declaring, restraint, operator):
    opened = declaring([group(one("x", "1.2", restraint))])
    assert requirements(opened) == [f"x{operator}1.2"]
    assert oddities(opened) == []


@pytest.mark.parametrize("version", [None, "", " ", "latest", "*"])
@pytest.mark.parametrize("restraint", [None, "", "EXACT"])
def test_no_version_means_any(declaring, version, restraint):
    assert requirements(declaring([group(one("x", version, restraint))])) == ["x"]


@pytest.mark.parametrize("restraint", [None, "", "ABOUT"])
def test_a_version_without_a_known_restraint_is_exact_and_told(declaring, restraint):
    opened = declaring([group(one("x", "1.2", restraint))])
    assert requirements(opened) == ["x==1.2"]
    assert "read as EXACT" in declared(opened)[1][0].message


def test_a_misspelt_restraint_is_read_as_the_one_that_it_is_told_to_be(declaring):
    opened = declaring([group(one("x", "1.2", "ATLAST"))])
    assert requirements(opened) == ["x>=1.2"]
    assert oddities(opened)[0].endswith('not "ATLAST"; read as ATLEAST')


def test_misspelt_keys_are_read_as_those_that_are_meant(declaring):
    package = {"pacakge_name": "x", "version": "1.2", "restrain": "ATLEAST"}
    opened = declaring([{"installer": "pip", "package": [package]}])
    assert requirements(opened) == ["x>=1.2"]
    assert len(oddities(opened)) == 4


def test_what_is_odd_is_found_where_it_stands(declaring):
    opened = declaring([group(one("a"), one("x", "1.2", "ABOUT"))])
    (remark,) = declared(opened)[1]
    assert remark.keys == ("dependencies", 0, "packages", 1, "restraint")


def test_a_version_that_is_a_number_or_has_its_operator_is_understood(declaring):
    opened = declaring([group(one("x", 1.19, "EXACT"), one("y", ">=2,<3", "EXACT"))])
    assert requirements(opened) == ["x==1.19", "y<3,>=2"]


def test_a_version_that_is_none_is_told_and_read_as_any(declaring):
    opened = declaring([group(one("x", "1.13-gpu-x", "EXACT"))])
    assert requirements(opened) == ["x"]
    assert '"1.13-gpu-x" is not a version' in oddities(opened)[0]


@pytest.mark.parametrize(
    ("dependencies", "wanted", "told"),
    [
        (group(one("x")), ["x"], "should be a list of groups; read as one of this"),
        (["x==1.19", "y"], ["x==1.19", "y"], "read as the packages of one"),
        ([one("x", "1", "EXACT"), one("y")], ["x==1", "y"], "read as the packages of one"),
        ([[one("x")], [one("y")]], ["x", "y"], "read as the packages of one"),
        ({"x": "1", "y": ""}, ["x==1", "y"], "read as the packages of one"),
        ("x", ["x"], "read as the packages of one"),
        ([group(one("x")), "y"], ["x", "y"], "a group has \"installer\" and \"packages\"; read as"),
        ([group("x==1.19")], ["x==1.19"], 'should be here, not "x==1.19"; read as the name'),
        ([{"packages": {"x": "1"}}], ["x==1"], '"packages" should be a list, not an object; read as'),
        ([{"packages": one("x")}], ["x"], '"packages" should be a list, not an object; read as one'),
        ([{"packages": "x"}], ["x"], '"packages" should be a list, not "x"; read as one'),
        ([group(one("x"), installer="conda")], ["x"], 'the installer is pip, not "conda"'),
        ([{"installer": "pip"}], [], '"packages" should be a list, not null; ignored'),
        ([group(5)], [], '"package_name" should be text, not 5; ignored'),
    ],
)  # fmt: skip
def test_an_odd_shape_is_read_as_well_as_possible_and_told(declaring, dependencies, wanted, told):
    opened = declaring(dependencies)
    assert requirements(opened) == wanted
    assert told in "\n".join(oddities(opened))


def test_what_is_no_name_is_told_as_the_reason_why_pip_cannot_install_it(declaring):
    opened = declaring([group(one("a b"))])
    assert (status(opened).state, oddities(opened)) == ("unusable", [])
    assert "a b (not the name of a package)" in absent(opened)[0].message


@pytest.mark.parametrize("dependencies", [None, [], [group()]])
def test_no_dependencies_are_nothing_to_tell(declaring, dependencies):
    opened = declaring(dependencies)
    assert declared(opened) == ([], [])
    assert absent(opened) == []


@pytest.mark.parametrize("installer", ["pip", "PIP", "pip3", "python -m pip", ""])
def test_pip_has_several_names(declaring, installer):
    assert oddities(declaring([group(one("x"), installer=installer)])) == []


def test_nothing_that_json_can_hold_stops_the_reading(declaring):
    chance = random.Random(7)
    words = ["", "x", "==", "a==1==2", "x.whl", "x.tar.gz", "http://h/x.whl", "a @ b", "EXACT", "é"]
    keys = ["packages", "package_name", "package_version", "restraint", "installer", "name", "1"]

    def anything(depth):
        if depth and chance.random() < 0.7:
            if chance.random() < 0.5:
                return [anything(depth - 1) for _ in range(chance.randrange(4))]
            return {chance.choice(keys): anything(depth - 1) for _ in range(4)}
        return chance.choice([*words, None, True, 5, -1.5])

    opened = declaring([])
    for _ in range(2000):
        opened.config["dependencies"] = anything(5)
        assert isinstance(absent(opened), list)


# --- what is installed


def test_an_installed_version_that_fits_satisfies(declaring, install):
    install("small", "1.2.0")
    for restraint in ("EXACT", "ATLEAST", "ATMOST"):
        found = status(declaring([group(one("small", "1.2", restraint))]))
        assert (found.state, found.reason) == ("satisfied", "1.2.0 is installed")


def test_a_build_of_the_declared_version_satisfies_it(declaring, install):
    install("small", "1.2.0+cpu")
    assert status(declaring([group(one("small", "1.2", "EXACT"))])).state == "satisfied"


def test_another_version_differs(declaring, install):
    install("small", "2.0")
    found = status(declaring([group(one("small", "1.2", "EXACT"))]))
    assert (found.state, found.reason) == ("differs", "2.0 is installed")


def test_what_is_not_there_is_missing(declaring):
    assert status(declaring([group(one("no-such-distribution"))])).state == "missing"


def test_another_distribution_of_the_same_module_satisfies_and_is_named(declaring, install):
    install("xgboost-cpu", "2.0")
    found = status(declaring([group(one("xgboost", "1.0", "ATLEAST"))]))
    assert found.state == "satisfied"
    assert found.reason == "2.0 is installed; xgboost-cpu brings the same modules"


def test_another_version_of_it_is_exchanged_under_its_own_name(declaring, install):
    install("xgboost-cpu", "2.0")
    found = status(declaring([group(one("xgboost", "3.0", "EXACT"))]))
    assert (found.state, found.requirement) == ("differs", "xgboost-cpu==3.0")


def test_a_name_that_moved_is_compared_as_that_of_today(declaring):
    found = status(declaring([group(one("PIL", "1.1.7", "EXACT"))]))
    assert (found.state, found.requirement) == ("satisfied", "pillow")


def test_a_module_of_the_package_itself_satisfies(declaring):
    opened = declaring([group(one("mylayers"))], **{"mylayers.py": ""})
    assert status(opened).state == "satisfied"
    assert "mylayers.py is there; its version is not known" in status(opened).reason


def test_the_standard_library_is_satisfied_and_the_platform_s_cannot_be(declaring):
    assert status(declaring([group(one("json"))])).reason == "json is in Python's standard library"
    found = status(declaring([group(one("moxing"))]))
    assert found.state == "unusable"
    assert "there is no such package to install" in found.reason


def test_a_marker_for_another_python_leaves_nothing_to_do(declaring):
    assert status(declaring([group(one("x; python_version<'3'"))])).state == "satisfied"


def test_metadata_without_a_version_is_not_an_installed_distribution(declaring, install):
    site = install("small", "1.0")
    (site / "small-1.0.dist-info" / "METADATA").write_text("")
    assert status(declaring([group(one("small"))])).state == "missing"


# --- wheels and source distributions beside the model


def test_a_wheel_beside_the_model_is_what_pip_is_given(declaring, make_wheel):
    opened = declaring([group(one("tiny-1.0-py3-none-any.whl"))])
    wheel = make_wheel(opened.folder, "tiny", "1.0")
    found = status(opened)
    assert (found.state, found.requirement) == ("missing", str(wheel))
    assert found.dependency.specifier == SpecifierSet("==1.0")


def test_its_path_on_another_machine_does_not_matter(declaring, make_wheel):
    opened = declaring([group(one("/home/me/tiny-1.0-py3-none-any.whl"))])
    wheel = make_wheel(opened.folder, "tiny", "1.0")
    assert status(opened).requirement == str(wheel)


def test_a_wheel_is_satisfied_by_its_version_alone(declaring, make_wheel, install):
    install("tiny", "1.0")
    opened = declaring([group(one("tiny-1.0-py3-none-any.whl"))])
    assert status(opened).state == "satisfied"
    install("tiny", "2.0")
    opened = declaring([group(one("tiny-3.0-py3-none-any.whl"))])
    make_wheel(opened.folder, "tiny", "3.0")
    assert status(opened).state == "differs"


@pytest.mark.parametrize(
    ("name", "is_there", "why"),
    [
        ("tiny-1.0-py3-none-any.whl", False, "not beside the model file; put it into"),
        ("tiny-1.0-cp27-cp27m-win32.whl", True, "built for cp27-cp27m-win32; this is Python 3."),
        ("tiny.whl", True, "not the name of a wheel"),
        (f"{'x' * 300}-1.0-py3-none-any.whl", False, "not beside the model file"),
        ("tiny-1.0-py3.6.egg", True, "an egg, which pip does not install"),
    ],
)
def test_a_file_that_pip_cannot_install_says_why(declaring, name, is_there, why):
    opened = declaring([group(one(name))], **({name: b""} if is_there else {}))
    found = status(opened)
    assert found.state == "unusable"
    assert why in found.reason


@pytest.mark.parametrize("name", ["tiny-1.0.tar.gz", "tiny-1.0.zip", "anything.zip"])
def test_a_source_distribution_beside_the_model_is_given_to_pip(declaring, name):
    opened = declaring([group(one(name))], **{name: b""})
    assert (status(opened).state, status(opened).requirement) == (
        "missing",
        str(opened.folder / name),
    )


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git+https://host/x.git#egg=tiny", "tiny"),
        ("https://host/files/tiny-1.0-py3-none-any.whl", "tiny"),
        ("tiny @ https://host/tiny.zip", "tiny"),
        ("git+https://host/x.git", ""),
    ],
)
def test_a_url_is_given_to_pip_as_it_is(declaring, url, name):
    found = status(declaring([group(one(url))]))
    assert (found.state, found.requirement, found.dependency.name) == ("missing", url, name)


# --- said at the start


def test_one_line_says_what_is_not_here_and_what_to_run(declaring, install):
    install("old", "1.0")
    opened = declaring([group(one("old", "2.0", "EXACT"), one("no-such-one"), one("pillow"))])
    (only,) = absent(opened)
    assert str(only) == (
        f"{opened.folder / 'config.json'}:1:2: warning: dependencies that are not here as declared: "
        "old==2.0 (1.0 is installed), no-such-one (not installed); "
        f"run: engineroom deps {opened.root} --install"
    )


def test_other_versions_alone_are_nothing_to_install_in_a_hurry(declaring, install):
    install("old", "1.0")
    opened = declaring([group(one("old", "2.0", "EXACT"))])
    assert absent(opened)[0].message.endswith(f"see: engineroom deps {opened.root}")


def test_a_load_says_it_before_the_script_s_import_fails_on_it(package, fake_engine, caplog):
    text = json.dumps({"dependencies": [group(one("no-such-one"))]})
    load(package(**{"model.fake": "3", "config.json": text}))
    lines = [record.getMessage() for record in caplog.records]
    assert sum("no-such-one (not installed)" in line for line in lines) == 1
    assert "no-such-one" in lines[0]
