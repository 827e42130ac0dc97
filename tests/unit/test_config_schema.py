"""docs/config.schema.json: what editors are told about a config.json."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "config.schema.json").read_text("utf-8"))
OURS = [
    # That of the walk-through is odd on purpose.
    *(
        path
        for path in (ROOT / "examples").rglob("config.json")
        if "walk-through" not in path.parts
    ),
    *ROOT.glob("plugins/*/src/*/template/**/config.json"),
]
GOOD = {
    "model_algorithm": "image_classification",
    "model_type": "PyTorch",
    "runtime": "python3.7",
    "metrics": {"f1": 0.9},
    "apis": [
        {
            "protocol": "http",
            "url": "/",
            "method": "post",
            "request": {
                "Content-type": "multipart/form-data",
                "data": {
                    "type": "object",
                    "properties": {
                        "photo": {"type": "file"},
                        "boxes": {"type": "array", "items": {"type": "number"}},
                    },
                    "required": ["photo"],
                },
            },
            "response": {"Content-type": "application/json", "data": {"type": "object"}},
        }
    ],
    "dependencies": [
        {
            "installer": "pip",
            "packages": [
                {"package_name": "numpy", "package_version": "1.19", "restraint": "ATLEAST"}
            ],
        }
    ],
}
API, REQUEST = ("apis", 0), ("apis", 0, "request")
PROPERTIES = (*REQUEST, "data", "properties")
PACKAGE = ("dependencies", 0, "packages", 0)


def problems(config):
    return list(jsonschema.Draft7Validator(SCHEMA).iter_errors(config))


def test_it_is_a_schema_itself():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_there_are_files_to_try_it_on():
    assert len(OURS) >= 9


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_json_of_ours_passes(path):
    assert problems(json.loads(path.read_text("utf-8"))) == []


def test_a_file_that_uses_all_of_it_passes():
    assert problems(GOOD) == []
    image = {"model_algorithm": "x", "model_type": "Image", "swr_location": "swr.example/x:1"}
    health = {"url": "/health", "protocol": "http", "timeout_seconds": "10"}
    assert problems({**image, "health": health}) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("author",), "me"),
        (("model_algoritm",), "x"),
        (("model_type",), 5),
        (("model_type",), ""),
        (("runtime",), 3.7),
        (("metrics", "f1"), "0.9"),
        (("metrics", "f1"), 97),
        (("metrics", "acc"), 0.9),
        (("apis",), {}),
        ((*API, "procotol"), "http"),
        ((*API, "protocol"), "grpc"),
        ((*API, "url"), "predict"),
        ((*API, "method"), "get"),
        ((*REQUEST, "Content-type"), "applicaton/json"),
        ((*REQUEST, "Content-type"), "multipart/json"),
        ((*REQUEST, "required"), ["photo"]),
        ((*REQUEST, "response"), {}),
        ((*REQUEST, "properties"), {}),
        ((*REQUEST, "data"), '{"type": "object"}'),
        ((*REQUEST, "data", "required"), "photo"),
        ((*PROPERTIES, "photo"), "file"),
        ((*PROPERTIES, "photo", "type"), "list"),
        ((*PROPERTIES, "photo", "type"), "json"),
        ((*PROPERTIES, "photo", "required"), True),
        ((*PROPERTIES, "photo", "minimum"), "0"),
        ((*PROPERTIES, "boxes", "items"), [{"type": "number"}]),
        ((*PROPERTIES, "boxes", "item"), {"type": "number"}),
        ((*PROPERTIES, "boxes", "$ref"), "#"),
        (("dependencies",), "numpy"),
        (("dependencies", 0, "installer"), "conda"),
        (("dependencies", 0, "packages"), "numpy"),
        (PACKAGE, "numpy"),
        (PACKAGE, {"package_name": "numpy", "package_version": "1.19"}),
        ((*PACKAGE, "package_name"), 5),
        ((*PACKAGE, "package_version"), 1.19),
        ((*PACKAGE, "restraint"), "atleast"),
        (("health",), {"url": "/health"}),
        (("swr_location",), "swr.example/x:1"),
    ],
    ids=str,
)
def test_what_the_linter_finds_an_editor_shows(place, value):
    config = copy.deepcopy(GOOD)
    node = config
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    assert problems(config)
