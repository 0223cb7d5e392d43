"""Places that the config names: what may not overlap is refused, with both keys."""

import os
from pathlib import Path

import pytest
from support.studio import Studio

from pipeline.config.checks.places import OWN_NAMES, Place, find_clash
from pipeline.config.loading import json_schema, load, load_config
from pipeline.daemon.planned_pauses import BULK_RUNS, USER_PAUSE
from pipeline.errors import ConfigError
from pipeline.ledger.ledger import FILE
from pipeline.monitoring.live import DOCUMENT_FILE, REQUEST_FILE
from pipeline.outbox.names import RESERVED_NAMES

# Each key that holds a path, and a value that is good; all others are good beside it.
KEYS = {
    "inbox": "inbox: {}\n",
    "outbox": "outbox: {}\n",
    "state": "state: {}\n",
    "archive": "archive: {}\n",
    "quarantine": "quarantine: {}\n",
    "log.file": "log: {{file: {}}}\n",
    "metrics.file": "metrics: {{file: {}}}\n",
    "styles.a": "styles: {{a: {{image: {}}}}}\n",
    "styles.b": "styles: {{b: {{images: {{{}: 1}}}}}}\n",
    "styles.c.transfer.init": "styles: {{c: {{image: x, transfer: {{init: {}}}}}}}\n",
    "transfer.init": "transfer: {{init: {}}}\n",
    "weights": "weights: {}\n",
    "enhance.upscale_model": "enhance: {{upscale_model: {}}}\n",
}
WRITTEN = ("log.file", "metrics.file")


def config_with(folder: Path, *texts: str) -> Path:
    path = folder / "config.yaml"
    text = "".join(texts)
    path.write_text(text if "styles:" in text else f"styles: {{z: {{image: z}}}}\n{text}")
    return path


def complaint(folder: Path, *texts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(config_with(folder, *texts))
    return str(caught.value)


@pytest.mark.parametrize("own", sorted(OWN_NAMES["outbox"]))
@pytest.mark.parametrize("key", sorted(KEYS.keys() - {"outbox"}))
def test_nothing_may_lie_in_what_the_outbox_removes_and_replaces(tmp_path, key, own):
    for place in (f"outbox/{own}", f"outbox/{own}/below", f"outbox/{own.upper()}"):
        words = complaint(tmp_path, KEYS[key].format(place))
        assert f"{key} is inside the outbox" in words


@pytest.mark.parametrize("key", sorted(KEYS.keys() - {"state"}))
def test_nothing_may_lie_in_what_the_state_folder_removes_and_replaces(tmp_path, key):
    owns = ["checkpoints", "styles", "jobs.sqlite3", "jobs.sqlite3-wal", "instance.lock"]
    owns += ["logs/hooks.log", "logs/worker-1.log"] if key in WRITTEN else ["logs"]
    for place in (*(f".state/{own}" for own in owns), ".state/checkpoints/below"):
        assert f"{key} is inside the state" in complaint(tmp_path, KEYS[key].format(place))


@pytest.mark.parametrize("key", [key for key in KEYS if key not in WRITTEN])
@pytest.mark.parametrize("written", WRITTEN)
def test_no_written_file_may_have_the_name_of_another_place(tmp_path, written, key):
    names = ["here", "here/below"] + ["here.1", "here.2"] * (written == "log.file")
    for name in names:
        texts = (
            KEYS[written]
            .format("here")
            .replace("}\n", ", keep: 2}\n" if written == "log.file" else "}\n")
        )
        words = complaint(tmp_path, texts, KEYS[key].format(name))
        assert f"{written} and {key} name the same file" in words


@pytest.mark.parametrize("written", WRITTEN)
def test_no_written_file_may_be_the_config_the_other_one_or_lie_in_the_inbox(tmp_path, written):
    assert "config.yaml name the same file" in complaint(
        tmp_path, KEYS[written].format("config.yaml")
    )
    both = [KEYS[key].format("here") for key in WRITTEN]
    assert "metrics.file and log.file" in complaint(tmp_path, *both)
    assert f"{written} is inside the inbox" in complaint(tmp_path, KEYS[written].format("inbox/x"))


@pytest.mark.parametrize("folder", ["archive", "quarantine"])
@pytest.mark.parametrize("place", ["inbox", "inbox/x", "outbox", ".state", ".state/x"])
def test_a_folder_of_originals_is_apart_from_inbox_outbox_and_state(tmp_path, folder, place):
    words = complaint(tmp_path, KEYS[folder].format(place))
    other = place.removeprefix(".").partition("/")[0]
    assert folder in words
    assert other in words


def test_a_state_folder_that_photos_could_be_archived_into_is_refused(tmp_path):
    words = complaint(tmp_path, "archive: photos\nstate: photos/state\n")
    assert "state is inside the archive" in words


@pytest.mark.parametrize("key", [key for key in KEYS if key.startswith("styles") or "init" in key])
def test_a_painting_may_not_lie_in_quarantine(tmp_path, key):
    words = complaint(tmp_path, "quarantine: mine\n", KEYS[key].format("mine/a.png"))
    assert f"{key} is inside the quarantine" in words


def test_a_place_is_known_under_its_other_names(tmp_path):
    (tmp_path / "outbox/.staging").mkdir(parents=True)
    (tmp_path / "link").symlink_to("outbox/.staging")
    assert "archive is inside the outbox" in complaint(tmp_path, "archive: link/x\n")
    (tmp_path / "a.png").write_bytes(b"a painting")
    os.link(tmp_path / "a.png", tmp_path / "b.png")
    texts = ["log: {file: b.png}\n", "styles: {a: {image: a.png}}\n"]
    assert "log.file and styles.a name the same file" in complaint(tmp_path, *texts)


@pytest.mark.parametrize(
    "text",
    [
        "archive: outbox/originals\n",
        "archive: .\n",
        "state: work\ninbox: work/in\noutbox: work/out\n",
        "state: .\n",
        "state: outbox/state\n",
        "log: {file: .state/logs/pipeline.jsonl}\n",
        "log: {file: .state/log}\nmetrics: {file: .state/logs/metrics.prom}\n",
        "log: {file: outbox/log}\nmetrics: {file: archive/metrics}\n",
        "weights: .state/vgg.pth\n",
        "styles: {a: {image: inbox/a.png}, b: {image: archive/a.png}, c: {image: a.png}}\n",
    ],
)
def test_what_harms_nothing_is_accepted(tmp_path, text):
    load_config(config_with(tmp_path, text))


def test_every_key_that_holds_a_path_is_in_the_table(tmp_path):
    texts = [text.format(f"x{n}") for n, text in enumerate(KEYS.values())]
    merged = [text for text in texts if not text.startswith("styles")]
    styles = "styles: {a: {image: x7}, b: {images: {x8: 1}}, c: {image: x, transfer: {init: x9}}}\n"
    config = load_config(config_with(tmp_path, styles, *merged))
    found = {place.key: place.path.name for place in config.places()}
    assert {key: found.get(key) for key in KEYS} == {key: f"x{n}" for n, key in enumerate(KEYS)}
    # A folder of paintings has its tests in test_paintings.py.
    assert _path_fields(json_schema()) <= {"styles"} | {key.rpartition(".")[2] for key in KEYS}


def _path_fields(schema: object) -> set[str]:
    """Names of all fields of a JSON Schema whose values are paths."""
    if isinstance(schema, list):
        return set().union(*map(_path_fields, schema))
    if not isinstance(schema, dict):
        return set()
    fields = schema.get("properties", {})
    here = {name for name, field in fields.items() if '"path"' in str(field).replace("'", '"')}
    return here.union(*map(_path_fields, schema.values()))


def test_the_programs_own_names_are_those_of_the_modules_that_make_them(make_studio):
    assert set(OWN_NAMES["outbox"]) == set(RESERVED_NAMES)
    files = [FILE, BULK_RUNS, USER_PAUSE, DOCUMENT_FILE, REQUEST_FILE, "logs/worker-1.log"]
    studio: Studio = make_studio()
    studio.put("a.png")
    studio.until_idle()
    state = studio.config.state
    for name in [*files, *(path.name for path in state.iterdir())]:
        there = [
            Place("state", state, "state"),
            Place("metrics.file", state / name, "metrics.file"),
        ]
        assert "metrics.file" in find_clash(there), name


def test_a_config_with_a_thousand_styles_is_checked_at_once(tmp_path):
    styles = ", ".join(f"s{n}: {{image: paintings/{n}.png}}" for n in range(1000))
    path = config_with(tmp_path, f"styles: {{{styles}}}\nlog: {{keep: 100}}\n")
    assert len(load(path, complete=False).config.styles) == 1000
