"""After a reload of the config, service and reports work as if started with it."""

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from pydantic import BaseModel
from support import ROOT
from support.studio import CONFIG, Studio

from pipeline.config.model import AT_START, Config, changed_at_start
from pipeline.config.sections import Limits
from pipeline.daemon.instance import InstanceRecord
from pipeline.daemon.observers import Observers
from pipeline.daemon.service import Service
from pipeline.monitoring.view import View

WITH_METRICS = CONFIG + "metrics: {file: metrics.prom}\n"  # so that there is an exporter
# For each key that takes effect at once another value than its default. Sections that the plan
# reads as a whole have one key each, the others all of theirs.
OTHER = {
    "weights": "w.pth",
    "preset": "draft",
    "first": "draft",
    "seed": 7,
    "regions": {"face": {"strength": 0.2}},
    "after": "delete",
    "archive": "elsewhere",
    "failed": "quarantine",
    "quarantine": "bad",
    "keep": "latest",
    "versions.per_pair": 9,
    "versions.bytes": 5,
    "transfer.size": 64,
    "enhance.preset": "vivid",
    "output.format": "jpeg",
    "styles.other": {"image": "builtin:watercolor"},
    "match": [{"inbox": "a*", "styles": ["mosaic"]}],
    "watch.settle_seconds": 9,
    "watch.scan_seconds": 9,
    "watch.poll_seconds": 9,
    "watch.ignore": ["x*"],
    "limits.side": 99,
    "limits.free_bytes": 99,
    "hooks.on_done": ["true"],
    "hooks.on_failed": ["true"],
    "hooks.on_batch": ["true"],
    "hooks.batch_seconds": 9,
    "hooks.timeout_seconds": 9,
    "queue.order": "newest",
    "queue.folders": {"a/**": 3},
    "queue.fair": False,
    "schedule.hours": ["22:00-06:00"],
}
UNREAD = {".examiner._decoder.limits"}  # it reads neither limits.side nor limits.free_bytes
OTHER_PROGRAMS = {"serve"}  # read by `pipeline serve` alone
BY_THE_PLAN = {"transfer", "enhance", "output", "schedule"}


def text_with(key: str) -> str:
    """The config of the studios with another value of one key."""
    document = yaml.safe_load(WITH_METRICS)
    place, *names = document, *key.split(".")
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = OTHER[key]
    return yaml.safe_dump(document)


def values(thing: object, at: str = "", seen: frozenset[int] = frozenset()) -> Iterator[tuple]:
    """Every plain value that a part of the program holds, with its place."""
    plain = BaseModel | str | int | float | Path | tuple | list | dict | set | frozenset | None
    if isinstance(thing, plain):
        yield at, repr(thing)
    elif isinstance(thing, deque):
        yield at, repr(thing.maxlen)
    elif type(thing).__module__.startswith("pipeline.") and id(thing) not in seen:
        slots = [name for each in type(thing).__mro__ for name in getattr(each, "__slots__", ())]
        held = vars(thing) if hasattr(thing, "__dict__") else {n: getattr(thing, n) for n in slots}
        for name, below in held.items():
            if not isinstance(below, ModuleType):
                yield from values(below, f"{at}.{name}", seen | {id(thing)})


def started(studio: Studio, record: InstanceRecord) -> tuple[Service, Observers]:
    """The two parts that hold values of the config for as long as the program runs."""
    view = View(preset=studio.config.preset)
    service = Service(
        studio.config, studio.manifest, studio.ledger, studio.executor, view, patient=True
    )
    return service, Observers(studio.config, record, "watch")


def held_values(parts: tuple[Service, Observers]) -> dict[str, str]:
    service, observers = parts
    return dict([*values(service), *values(observers, "observers")])


def test_every_key_of_the_config_takes_effect_at_once_or_is_listed() -> None:
    """A new key: see *Add a config key* in CONTRIBUTING.md."""
    listed = {*OTHER, *AT_START}
    missing = []
    for name, field in Config.model_fields.items():
        section = field.annotation
        whole = not isinstance(section, type) or not issubclass(section, BaseModel)
        if whole or name in AT_START or name in BY_THE_PLAN:
            missing += [name] * (not {name} & {key.partition(".")[0] for key in listed})
        else:
            missing += [f"{name}.{key}" for key in section.model_fields]
    assert set(missing) - listed == {f"{name}.{key}" for name, key in keys_of_other_programs()}


def keys_of_other_programs() -> Iterator[tuple[str, str]]:
    for name in OTHER_PROGRAMS:
        yield from ((name, key) for key in Config.model_fields[name].annotation.model_fields)


@pytest.mark.parametrize("key", OTHER)
def test_after_a_reload_every_part_holds_what_a_new_one_would_hold(key: str, make_studio) -> None:
    studio = make_studio(WITH_METRICS)
    (studio.root / "w.pth").write_bytes(b"")
    record = InstanceRecord(studio.root / "instance.json", "watch")  # of the process
    reloaded = started(studio, record)
    studio.configure(text_with(key))
    new, again = (held_values(started(studio, record)) for _ in range(2))
    own = {place for place in new if new[place] != again[place]}  # such as a run's random id
    service, observers = reloaded
    service.configure(studio.config, studio.manifest)
    observers.configure(studio.config)
    held = held_values(reloaded)
    assert held.keys() == new.keys()
    old = {place for place in new.keys() - own if held[place] != new[place]}
    assert old - UNREAD == set()


def test_the_page_lists_the_keys_that_wait_for_a_start_and_the_limits_that_do_not() -> None:
    page = " ".join((ROOT / "docs" / "operations.md").read_text().split())
    listed = re.search(r"Changes to ([^()]*) \(except ([^()]*)\) apply only at the next", page)
    assert listed is not None
    waiting, at_once = (set(re.findall(r"`(\S+)`", part)) for part in listed.groups())
    assert waiting == {key.partition(".")[0] for key in AT_START}
    assert at_once == {f"limits.{name}" for name in Limits.model_fields} - {*AT_START}


def test_only_keys_that_wait_for_a_start_hold_a_reload_back(make_studio) -> None:
    studio = make_studio(WITH_METRICS)
    before = studio.config
    for key in OTHER:
        studio.configure(text_with(key)) if key != "weights" else None
        assert changed_at_start(before, studio.config) == []
    studio.configure(WITH_METRICS + "slots: 3\nlog: {keep: 9}\n")
    assert changed_at_start(before, studio.config) == ["slots", "log"]
