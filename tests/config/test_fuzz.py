"""Any config.yaml is either good or refused in one line; nothing in it ends in 'unexpected'."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.nasty_values import GOOD, NASTY, PLACES, TEXTS, as_yaml, with_value

from pipeline.config import patterns
from pipeline.config.loading import json_schema, load
from pipeline.config.manifest import Manifest
from pipeline.config.sidecar import merge_side_files
from pipeline.errors import ConfigError, InputError

pytestmark = pytest.mark.slow


def keys(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every key path of the schema (of free keys, styles, one), with what may stand there."""
    for branch in (schema, *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if "$ref" in branch:
            branch = SCHEMA["$defs"][branch["$ref"].rpartition("/")[2]]
        free = [branch.get("additionalProperties"), *branch.get("patternProperties", {}).values()]
        inner = [*branch.get("properties", {}).items(), *(("mosaic", one) for one in free if one)]
        for name, below in inner:
            if len(at) < 4:
                words = ("description", "default", "title")
                shape = {key: fact for key, fact in below.items() if key not in words}
                yield (*at, name), json.dumps(shape, sort_keys=True)
                yield from keys(below, (*at, name))


SCHEMA = json_schema()
SHAPES = dict(keys(SCHEMA))
KEYS = sorted(SHAPES)
# One key for each kind of value: what holds for one number from 0 to 1 holds for all of them.
KINDS = sorted({shape: key for key, shape in SHAPES.items()}.values())


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name in ("inbox", "folder"):
        (root / name).mkdir()
    (root / "loop").symlink_to("loop")
    (root / "closed").mkdir(mode=0)
    return root


def judged(root: Path, text: str) -> Manifest | str:
    """The manifest of a good config, or the one line that refuses it."""
    path = root / "config.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return load(path).manifest
    except ConfigError as error:
        said = str(error)
        assert "config.yaml" in said
        assert len(said) < 1500, said[:300]
        return said


def test_the_keys_are_those_of_the_whole_config() -> None:
    assert len(KEYS) > 100
    assert set(PLACES) <= set(KEYS)


@pytest.mark.parametrize("value", NASTY, ids=lambda v: ascii(v)[:20])
def test_a_nasty_value_in_any_key_is_taken_or_refused_in_one_line(
    project: Path, value: Any
) -> None:
    for key in {*KINDS, *PLACES}:
        verdict = judged(project, as_yaml(with_value(key, value)))
        if isinstance(verdict, Manifest):
            verdict.styles_for("any/photo.jpg")  # nor does a pattern fail when it is first used


@pytest.mark.parametrize("text", TEXTS)
def test_yaml_that_plays_tricks_is_refused_in_the_config_and_in_a_side_file(
    project: Path, text: str
) -> None:
    assert isinstance(judged(project, text), str)
    side = project / "photo.jpg.yaml"
    side.write_text(text)
    good = project / "good.yaml"
    good.write_text(as_yaml(GOOD))
    loaded = load(good)
    found = {"photo.jpg.yaml": (side, text)}
    with pytest.raises(InputError, match=r"photo\.jpg\.yaml"):
        merge_side_files("photo.jpg", found, loaded.manifest, loaded.config)


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30),
    st.dates(), st.binary(max_size=5), st.sampled_from(NASTY[:24]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([key[-1] for key in KEYS]) | leaves, inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(chosen=st.lists(st.tuples(st.sampled_from(KEYS), values), min_size=1, max_size=3))
def test_random_values_in_random_keys_are_taken_or_refused_in_one_line(
    project: Path, chosen: list[tuple[tuple[str, ...], Any]]
) -> None:
    document = with_value(*chosen[0])
    for key, value in chosen[1:]:
        document |= {key[0]: with_value(key, value)[key[0]]}
    judged(project, as_yaml(document))


def test_a_pattern_is_quick_whatever_the_name() -> None:
    folders = patterns.check_pattern("/".join(["**/a*"] * patterns.MOST_GLOBSTARS) + "/b")
    stars = patterns.check_pattern("*a*b" * 50 + "c")
    begun = time.process_time()
    assert not patterns.matches("/".join(["a"] * 64), folders)
    assert not patterns.matches("ab" * 120, stars)
    assert time.process_time() - begun < 2
