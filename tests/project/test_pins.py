"""What users, scripts and existing installs rely on by name, compared with literal values.

A value here changes only together with an entry in CHANGELOG.md; additions are welcome.
"""

import ast
import json
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from support import ROOT

from pipeline import errors
from pipeline.config.enhancement import Enhance
from pipeline.config.output import OutputFormat
from pipeline.config.sections import Metrics
from pipeline.config.transfer import resolve_transfer
from pipeline.errors import Failure, PipelineError, Reason
from pipeline.imaging.metadata import xmp_packet
from pipeline.jobs.job import Job, JobResult, Output
from pipeline.jobs.provenance import SOFTWARE, record
from pipeline.jobs.recipe import Recipe, StyleImage
from pipeline.ledger.database import Database
from pipeline.ledger.log_queue import as_json_line
from pipeline.monitoring.metrics import Exporter
from pipeline.outbox.names import candidate_names, staging_name
from pipeline.outbox.run_log import run_log_line

PINS = ROOT / "tests" / "project" / "pins"
BEFORE = PINS / "before"  # an install as the version of commit 20d407c left it


def pinned(name: str) -> str:
    return (PINS / name).read_text()


# --- recipes and jobs -----------------------------------------------------------------------


def recipe(preset: str = "balanced", enhance: dict | None = None, **more: object) -> Recipe:
    images = (StyleImage(Path("/paintings/a.jpg"), 1.0, "a" * 64),)
    chain = Enhance.model_validate(enhance or {})
    given = {"images": images, "weights": "embedded", "seed": 0, "weights_sha256": "embedded"}
    return Recipe(transfer=resolve_transfer(preset), enhance=chain, **(given | more))


BLEND = (
    StyleImage(Path("/paintings/a.jpg"), 2 / 3, "a" * 64),
    StyleImage(Path("/paintings/b.jpg"), 1 / 3, "b" * 64),
)
# With each: the digest, and the id of the job that paints sub/cup.jpg by it in the style mosaic.
RECIPES = {
    "draft": (recipe("draft"), "ffaa0efe2dceb1a3", "a237cefbdbd1"),
    "balanced": (recipe("balanced"), "588f138e081a810d", "9b0de2e5a4fa"),
    "fine": (recipe("fine"), "d877a536b2b1c5e5", "adbb9b267d4f"),
    "print": (recipe("print"), "b3299982ca6e094c", "eadafc1b54e7"),
    "a blend": (recipe(images=BLEND), "d4272459572b40b1", "6c0358ab2bd0"),
    "another seed": (recipe(seed=7), "826c124265f3b138", "304ba759b463"),
    "weights from a file": (
        recipe(weights="/w.pth", weights_sha256="c" * 64),
        "4179278a35971fb0",
        "2255dfa3a17b",
    ),
    "a start image": (recipe(init_sha256="d" * 64), "07b09119ec0ea993", "37669650c68c"),
    "enlarged by a model": (
        recipe(
            enhance={"upscale": 2, "upscale_by": "model", "upscale_model": "/m.pth"},
            upscale_sha256="e" * 64,
        ),
        "df21c86e7bb60d1a",
        "439fc05d83d6",
    ),
    "vivid": (
        recipe(enhance={"preset": "vivid", "grain": 0.2}),
        "4174cae8a32ee379",
        "8a15a58fd767",
    ),
    "16 bits": (
        recipe(output=OutputFormat(format="tiff", depth=16)),
        "c09e5672640f0869",
        "1ec669bdcbd7",
    ),
}


def job(of: Recipe, **more: object) -> Job:
    return Job("sub/cup.jpg", Path("/inbox/sub/cup.jpg"), "5" * 64, "mosaic", of, **more)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_and_its_job_keep_their_ids(name):
    """Another digest, and every picture of every user is painted again."""
    made, digest, job_id = RECIPES[name]
    assert (made.digest, job(made).id) == (digest, job_id)


# --- what is written ------------------------------------------------------------------------


def results() -> list[JobResult]:
    """A finished and a failed job."""
    pictures = (
        Output("stylized", "sub/cup--mosaic.png", "1" * 64, 1234, 512, 384),
        Output("enhanced", "sub/cup--mosaic.enhanced.png", "2" * 64, 2345, 512, 384),
    )
    made = recipe(images=BLEND)
    steps = ({"step": "clean", "strength": 0.5, "style_shift": 0.0, "seconds": 0.062},)
    losses, curve = {"content": 0.5, "total": 0.75}, ((1, 1.5, 1), (2, 0.75, 1))
    done = JobResult(job(made), "done", 31.25, "cpu", pictures, losses, None, curve, steps)
    failure = Failure(Reason.TRUNCATED, "the file is cut off or damaged")
    return [done, JobResult(job(made, attempt=2), "failed", 0.5, "cuda:1", error=failure)]


def test_a_line_of_the_run_log_is_written_as_before():
    lines = [run_log_line(r, "0a1b2c3d4e5f", "2026-01-02T03:04:05.678Z") for r in results()]
    assert "".join(as_json_line(line) + "\n" for line in lines) == pinned("runs.jsonl")


def test_the_record_in_a_picture_is_written_as_before():
    made = recipe("draft", images=BLEND, enhance={"preset": "vivid"})
    assert record(job(made), "stylized", "2.9.0") + "\n" == pinned("provenance.json")


def test_the_record_stands_in_a_picture_where_it_stood():
    packet = xmp_packet(b"", gps=False, software=SOFTWARE, record='{"engine":12}')
    assert packet.decode() == pinned("packet.xmp")


def columns(db: sqlite3.Connection) -> dict[str, set[tuple]]:
    """Of each table the columns: name, type, whether it may be null, default, part of the key."""
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        name: {row[1:] for row in db.execute(f"PRAGMA table_info({name})")} for (name,) in names
    }


def indexes(db: sqlite3.Connection) -> dict[str, str]:
    rows = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''")
    return {name: re.sub(r"\s+", " ", sql) for name, sql in rows}


def test_the_database_has_the_tables_and_columns_that_it_had(tmp_path):
    """Further ones come by a migration of their own."""
    Database(tmp_path / "new.sqlite3").close()
    with (
        closing(sqlite3.connect(tmp_path / "new.sqlite3")) as new,
        closing(sqlite3.connect(":memory:")) as before,
    ):
        before.executescript(pinned("schema.sql"))
        assert columns(before)["pairs"]
        for table, found in columns(before).items():
            assert found <= columns(new)[table], table
        assert indexes(before).items() <= indexes(new).items()


def rows(db: sqlite3.Connection, table: str, named: str = "*") -> list[dict[str, object]]:
    found = db.execute(f"SELECT {named} FROM {table} ORDER BY 1, 2")
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def test_a_database_of_the_version_before_becomes_the_same_and_keeps_its_rows(tmp_path):
    path, other = tmp_path / "jobs.sqlite3", tmp_path / "new.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((BEFORE / "jobs.sql").read_text())
        before = {table: rows(db, table) for table in ("pairs", "seen")}
    Database(path).close()
    Database(other).close()
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(other)) as new:
        for table, found in before.items():
            assert len(found) == 4
            assert rows(db, table, ", ".join(found[0])) == found
        for question in ("PRAGMA user_version", "PRAGMA application_id"):
            assert db.execute(question).fetchone() == new.execute(question).fetchone()
        assert (columns(db), indexes(db)) == (columns(new), indexes(new))


# --- names that people and scripts see ------------------------------------------------------

EXIT_CODES = {
    "PipelineError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "ClusterLostError": 2,
    "LockedError": 2,
    "WeightsError": 2,
    "MissingExtraError": 2,
    "StateError": 1,
    "InboxError": 2,
    "BusyError": 1,
    "DiskFullError": 1,
    "JobError": 1,
    "InputError": 1,
    "ChangedError": 1,
    "EngineError": 1,
    "OutputError": 1,
    "PlaceError": 2,
}
REASONS = """
animated decode_crash decode_timeout decoder_unavailable disk_full duplicate engine_error
engine_unavailable hardlinked ignored interrupted io_error no_match not_regular_file out_of_memory
output_invalid publish_conflict sidecar_invalid stalled style_invalid too_large too_many_frames
too_many_pixels truncated unreadable unsupported_format vanished weights_invalid worker_crashed
"""
METRICS = {  # the kind, then the labels; counters have _total behind their name
    "pipeline_build_info": ["gauge", "version", "python"],
    "pipeline_device_busy_seconds": ["counter", "device"],
    "pipeline_disk_free_bytes": ["gauge", "folder"],
    "pipeline_failures": ["counter", "code"],
    "pipeline_healthy": ["gauge"],
    "pipeline_job_duration_seconds": ["histogram", "preset", "size"],
    "pipeline_jobs": ["gauge", "state"],
    "pipeline_last_success_timestamp_seconds": ["gauge"],
    "pipeline_last_tick_timestamp_seconds": ["gauge"],
    "pipeline_paused": ["gauge", "cause"],
    "pipeline_queue_length": ["gauge"],
    "pipeline_queue_remaining_seconds": ["gauge"],
    "pipeline_results": ["counter", "status"],
    "pipeline_running_jobs": ["gauge"],
    "pipeline_settling_files": ["gauge"],
    "pipeline_slots": ["gauge"],
}
LOGGERS = {"pipeline", "pipeline.hooks", "pipeline.slots"}
NOTES = """
batch end observer_failed pause reload reload_refused replaces restore_failed restored resume start
stop stopping styles unwanted watching worker_lost
"""
EVENTS = {
    *("job_{result.status}", "job_restored", "job_pruned", "file_{refused.status}"),
    *("batch_ended", "bulk_ended", "run_started", "run_ended", "replaces", "unwanted"),
}


def test_each_kind_of_error_has_its_exit_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    found = {k.__name__: k.exit_code for k in kinds if issubclass(k, PipelineError)}
    assert found | EXIT_CODES == found


def test_the_reason_codes_are_these():
    assert set(REASONS.split()) <= set(Reason)


def test_the_metrics_have_these_names_kinds_and_labels():
    exporter = Exporter(Metrics(), "balanced")
    registered = {
        "pipeline_" + thing._name.removeprefix("pipeline_"): [thing._type, *thing._labelnames]
        for thing in exporter.registry._collector_to_names
    }
    assert registered | METRICS == registered


def calls() -> list[tuple[str, ast.Call]]:
    """Every call in the package, with the dotted name of its module."""
    found = []
    for path in (ROOT / "pipeline").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        tree = ast.walk(ast.parse(path.read_text()))
        found += [(module, node) for node in tree if isinstance(node, ast.Call)]
    return found


@pytest.mark.slow
def test_operators_find_the_journal_under_these_logger_names():
    """A module that moves keeps the name under which it writes."""
    names = {"pipeline"}  # of journal.note
    for module, call in calls():
        if ast.unparse(call.func) == "logging.getLogger":
            given = ast.unparse(call.args[0])
            names.add(module if given == "__name__" else given.strip("'"))
    assert names >= LOGGERS


@pytest.mark.slow
def test_the_journal_speaks_of_these_events():
    spoken = ("note", "log.info", "log.warning", "log.error", "self._changed")
    found = set()
    for _, call in calls():
        if ast.unparse(call.func) in spoken:
            place = 2 if ast.unparse(call.func) == "self._changed" else 0
            found |= {c.value for c in ast.walk(call.args[place]) if isinstance(c, ast.Constant)}
    assert set(NOTES.split()) <= found


def test_the_lines_of_run_log_and_json_speak_of_these_events():
    found = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        found |= set(re.findall(r'"event": f?"([^"]+)"', path.read_text()))
    assert found >= EVENTS


def test_a_pairs_names_in_the_outbox_are_these():
    names = candidate_names("sub/cup.jpg", "mosaic")
    assert [next(names), next(names)] == ["sub/cup--mosaic", "sub/cup~2--mosaic"]
    places = ["a.png", "a.enhanced.jpg", "a.timelapse.webp", "a.step-0040.png"]
    kinds = ["stylized", "enhanced", "timelapse", "still"]
    shown = [Output(k, p, "", 0, 0, 0).with_stem("x") for k, p in zip(kinds, places, strict=True)]
    assert [output.path for output in shown] == [p.replace("a.", "x.", 1) for p in places]
    assert staging_name("0123456789ab", 3) == "0123456789ab.3"


# --- an install of the version before -------------------------------------------------------


@pytest.fixture
def studio(tmp_path) -> Path:
    """Folders and database as that version left them, on the same disk: stamps are those seen."""
    folder = tmp_path / "studio"
    with tarfile.open(BEFORE / "files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (folder / ".state").mkdir()
    with closing(sqlite3.connect(folder / ".state" / "jobs.sqlite3")) as db:
        db.executescript((BEFORE / "jobs.sql").read_text())
        db.execute("UPDATE inboxes SET root = ?", [os.fsencode(folder / "inbox")])
        for (content,) in db.execute("SELECT content FROM seen WHERE stamp <> ''").fetchall():
            at = (folder / "inbox" / os.fsdecode(content)).stat()
            stamp = f"{at.st_size}.{at.st_mtime_ns}.{at.st_ctime_ns}.{at.st_ino}"
            db.execute("UPDATE seen SET stamp = ? WHERE content = ?", [stamp, content])
        db.commit()
    return folder


def pipeline(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments, "--config", str(folder / "config.yaml")],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def tree(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_an_install_of_the_version_before_goes_on(studio):
    """Its engine paints otherwise: all is painted once more, and no picture of it is lost."""
    before = tree(studio / "outbox")
    code, said = pipeline(studio, "status", "--json")
    assert (code, len(json.loads(said)["refused"])) == (0, 2)
    code, said = pipeline(studio, "run")
    assert (code, "replaces 4 finished pictures" in said) == (0, True), said
    after = tree(studio / "outbox")
    kept = {data for name, data in after.items() if name.startswith(".versions/")}
    assert {data for name, data in before.items() if name.endswith(".png")} <= kept
    assert after["runs.jsonl"].startswith(before["runs.jsonl"])
    code, said = pipeline(studio, "run")
    assert (code, "nothing to do" in said) == (0, True), said
    deleted = [studio / "outbox" / f"cup--waves{kind}.png" for kind in ("", ".enhanced")]
    for picture in deleted:
        picture.unlink()
    code, said = pipeline(studio, "run")
    assert (code, "nothing to do" in said) == (0, True), said
    assert not any(picture.exists() for picture in deleted)
    code, said = pipeline(studio, "explain", str(studio / "inbox" / "cup.png"))
    (version,) = re.findall(r"^  (\w{12})  .*mosaic, 32 x 24 px", said, re.M)
    code, said = pipeline(studio, "restore", version)
    assert code == 0, said
    restored = tree(studio / "outbox")
    assert restored["cup--mosaic.png"] == before["cup--mosaic.png"]
    code, said = pipeline(studio, "explain", str(studio / "inbox" / "half.jpg"))
    assert "truncated" in said
    code, said = pipeline(studio, "explain", str(studio / "outbox" / "cup--mosaic.png"))
    assert (code, "the stylized picture of cup.png in the style mosaic" in said) == (0, True), said


@pytest.mark.slow
def test_the_outbox_of_the_version_before_keeps_its_names(studio):
    pair = [f"{stem}--{style}" for stem in ("cup", "trip/flag") for style in ("mosaic", "waves")]
    pictures = {f"{stem}{kind}.png" for stem in pair for kind in ("", ".enhanced")}
    pipeline(studio, "run")
    found = set(tree(studio / "outbox"))
    page = {"index.html", ".gallery/head.js", ".gallery/chunk-0001.js"}
    assert found >= pictures | page | {"runs.jsonl"}
    assert not [name for name in found if name.startswith(".staging")]
