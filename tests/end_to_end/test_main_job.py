"""The main job on real files with real processes: drop photos in, get paintings out.

Each start of torch costs seconds, so most sentences below are about three shared runs: the first
over a full inbox, and two more after its config and outbox were changed.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from support.stock import plain_picture, swap

from pipeline.config.manifest import starter_styles

pytestmark = pytest.mark.slow

SIDE = 32
FAST = f"transfer: {{size: {SIDE}, steps: [2]}}\n"
STYLES = 'styles:\n  mosaic: {image: "builtin:mosaic"}\n  waves: {image: "art/great waves.jpg"}\n'
NO_WAIT = "watch: {settle_seconds: 0}\n"
SCAN_OFTEN = "watch: {settle_seconds: 0, scan_seconds: 1}\n"
PHOTOS = ["cup.png", "trip/flag.webp", "turned.jpg"]
# What is no photograph, and how each is accounted for.
BAD = {
    "empty.png": ("failed", "truncated"),
    "half.jpg": ("failed", "truncated"),
    "notes.jpg": ("failed", "unsupported_format"),
    "gone.jpg": ("skipped", "not_regular_file"),
    "list.txt": ("skipped", "unsupported_format"),
    "x.png": ("skipped", "not_regular_file"),
}
if os.name == "posix" and os.geteuid() != 0:  # root reads everything
    BAD["locked.jpg"] = ("failed", "unreadable")


# --- the project folder ---------------------------------------------------------------------


def make_photo(path: Path, turned: bool = False, alpha: bool = False) -> None:
    """48 x 36 px, no two quarters alike."""
    image = Image.new("RGBA" if alpha else "RGB", (48, 36), "#c08040")
    image.paste("#2050a0", (0, 0, 24, 18))
    image.paste("#e0e0d000" if alpha else "#e0e0d0", (24, 18, 48, 36))
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1  # the camera was held upright
    image.save(path, exif=exif)


def make_project(root: Path) -> Path:
    inbox = root / "inbox"
    (inbox / "trip").mkdir(parents=True)
    (inbox / "x.png").mkdir()
    make_photo(inbox / "cup.png", alpha=True)
    make_photo(inbox / "trip" / "flag.webp")
    make_photo(inbox / "turned.jpg", turned=True)
    (inbox / "empty.png").touch()
    (inbox / "half.jpg").write_bytes((inbox / "turned.jpg").read_bytes()[:700])
    (inbox / "notes.jpg").write_text("milk, eggs")
    (inbox / "list.txt").write_text("no picture at all")
    (inbox / "gone.jpg").symlink_to("nowhere.jpg")
    if "locked.jpg" in BAD:
        make_photo(inbox / "locked.jpg")
        (inbox / "locked.jpg").chmod(0)
    (root / "art").mkdir()
    shutil.copy(starter_styles()["woodcut_waves"], root / "art" / "great waves.jpg")
    (root / "config.yaml").write_text(FAST + NO_WAIT + STYLES)
    return root


@contextmanager
def start(root: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program, which ends with the context, however that ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,  # so that Ctrl-C can be sent as a terminal does: to all
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def pipeline(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with start(root, *arguments) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def wait_for(process: subprocess.Popen[str], word: str) -> str:
    """Read the process's lines up to one that holds ``word``."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(f"ended without {word!r}: {process.stderr.read()}")


def pictures(root: Path) -> dict[str, int]:
    """Everything in the outbox but run log and gallery, with its time of writing."""
    outbox = root / "outbox"
    found = [path for path in outbox.rglob("*") if path.is_file()]
    names = {path.relative_to(outbox).as_posix(): path.stat().st_mtime_ns for path in found}
    shown = ("runs.jsonl", "index.html", ".gallery/", ".versions/")
    return {name: at for name, at in names.items() if not name.startswith(shown)}


def pair(photo: str, style: str) -> set[str]:
    stem = f"{photo.rpartition('.')[0]}--{style}"
    return {f"{stem}.png", f"{stem}.enhanced.png", f"{stem}.timelapse.webp"}


def run_log(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "outbox" / "runs.jsonl").read_text().splitlines()]


# --- the first run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A project after its first `run`. Not to be changed: see `good_part`."""
    root = make_project(tmp_path_factory.mktemp("studio"))
    return root, pipeline(root, "run")


def good_part(project: Path, to: Path) -> Path:
    """A copy of a finished project to do with as one likes, without the bad files.

    (A copied file is a new file: the bad ones would be reported, and fail, once more.)
    """
    return Path(shutil.copytree(project, to, ignore=shutil.ignore_patterns(*BAD)))


def test_three_photos_and_two_styles_make_six_plain_and_six_enhanced_pictures_and_films(finished):
    root, _ = finished
    wanted = set().union(*(pair(photo, style) for photo in PHOTOS for style in ("mosaic", "waves")))
    assert len(wanted) == 18  # each with its film
    assert set(pictures(root)) == wanted


def test_bad_files_make_exit_code_1_and_are_named_on_the_way(finished):
    _, ended = finished
    assert ended.returncode == 1
    assert ended.stderr == ""
    for name, (status, code) in BAD.items():
        assert any(
            status in line and name in line and code in line for line in ended.stdout.splitlines()
        ), name


def test_the_run_log_accounts_for_every_file(finished):
    root, _ = finished
    lines = run_log(root)
    files = {str(p.relative_to(root / "inbox")) for p in (root / "inbox").rglob("*")} - {"trip"}
    assert {line["content"] for line in lines} == files == {*PHOTOS, *BAD}
    for name, (status, code) in BAD.items():
        told = {(o["status"], o["error"]["code"]) for o in lines if o["content"] == name}
        assert told == {(status, code)}, name
    done = [line for line in lines if line["status"] == "done"]
    assert {(line["content"], line["style"]) for line in done} == {
        (photo, style) for photo in PHOTOS for style in ("mosaic", "waves")
    }


def test_nothing_in_the_outbox_names_a_folder_of_the_machine(finished):
    root, _ = finished
    files = [path for path in (root / "outbox").rglob("*") if path.is_file()]
    assert {"runs.jsonl", "chunk-0001.js", "cup--waves.png"} <= {path.name for path in files}
    for path in files:
        held = path.read_bytes()
        for folder in (root, starter_styles()["mosaic"].parent, Path.home()):
            assert os.fsencode(folder) + b"/" not in held, path
    assert b"great waves.jpg" in (root / "outbox" / ".gallery" / "chunk-0001.js").read_bytes()


def test_a_line_of_the_run_log_describes_the_very_files_in_the_outbox(finished):
    root, _ = finished
    line = next(line for line in run_log(root) if line["status"] == "done")
    for output in line["outputs"]:
        file = root / "outbox" / output["path"]
        assert file.stat().st_size == output["bytes"]
        with Image.open(file) as image:
            assert image.size == (output["width"], output["height"])
            assert max(image.size) == SIDE


def test_a_turned_photo_comes_out_upright_and_a_transparent_one_keeps_its_alpha(finished):
    root, _ = finished
    with Image.open(root / "outbox" / "turned--mosaic.png") as upright:
        assert upright.height == SIDE > upright.width
    with Image.open(root / "outbox" / "cup--mosaic.enhanced.png") as cup:
        assert cup.mode == "RGBA"


def test_originals_stay_as_they_are(finished, tmp_path):
    root, _ = finished
    fresh = make_project(tmp_path / "fresh")
    for name in set(PHOTOS) | {"half.jpg", "notes.jpg", "empty.png"}:
        assert (root / "inbox" / name).read_bytes() == (fresh / "inbox" / name).read_bytes()


def test_a_second_run_does_nothing_and_says_so(finished):
    root, _ = finished
    before = pictures(root), run_log(root)
    again = pipeline(root, "run")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert (pictures(root), run_log(root)) == before


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path):
    root = make_project(tmp_path / "new")
    said = pipeline(root, "run", "--dry-run")
    assert said.returncode == 0
    for photo in PHOTOS:
        assert sum(photo in line and "new" in line for line in said.stdout.splitlines()) == 2
    assert {path.name for path in root.iterdir()} == {"inbox", "art", "config.yaml"}


# --- after a change -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changed(finished, tmp_path_factory):
    """A finished project after a season of changes, then `run --limit 1 --json`, then `run`.

    The option of one style was changed, a style and a photo were added, and two results deleted,
    of which one is wanted again.
    """
    root = good_part(finished[0], tmp_path_factory.mktemp("later") / "studio")
    before = pictures(root)
    for name in pair("cup.png", "waves") | pair("turned.jpg", "waves"):
        (root / "outbox" / name).unlink()
    job = next(
        o["job"] for o in run_log(root) if (o["content"], o["style"]) == ("cup.png", "waves")
    )
    retried = pipeline(root, "retry", job)
    (root / "config.yaml").write_text(
        FAST + NO_WAIT + STYLES.replace('mosaic"}', 'mosaic", transfer: {content_weight: 0.77}}')
        + '  ink: {image: "builtin:ink_hatching"}\n'
    )  # fmt: skip
    limited = pipeline(root, "run", "--limit", "1", "--json")
    between = pictures(root)
    rest = pipeline(root, "run")
    return {
        "root": root, "before": before, "between": between, "after": pictures(root),
        "retried": retried, "limited": limited, "rest": rest,
    }  # fmt: skip


def remade(changed) -> set[str]:
    before, after = changed["before"], changed["after"]
    return {name for name, at in after.items() if before.get(name) != at}


def test_a_changed_option_renders_exactly_the_affected_pairs_again(changed):
    mosaics = set().union(*(pair(photo, "mosaic") for photo in PHOTOS))
    others = {name for name in remade(changed) if "--ink" not in name}
    assert others == mosaics | pair("cup.png", "waves")
    assert changed["rest"].returncode == 0


def test_a_new_style_is_applied_to_the_photos_already_there(changed):
    inks = set().union(*(pair(photo, "ink") for photo in PHOTOS))
    assert {name for name in remade(changed) if "--ink" in name} == inks


def test_a_deleted_result_stays_deleted_until_retry(changed):
    assert changed["retried"].returncode == 0
    assert "1 job back in the queue" in changed["retried"].stdout
    assert pair("cup.png", "waves") <= set(changed["after"])  # retried
    assert not pair("turned.jpg", "waves") & set(changed["after"])  # not retried


def test_limit_begins_no_more_jobs_than_that(changed):
    new = {n for n, at in changed["between"].items() if changed["before"].get(n) != at}
    assert len(new) == 3  # one pair: stylised, enhanced and its film


def test_json_events_are_lines_that_parse(changed):
    lines = changed["limited"].stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events if event["event"] == "job_done"] == ["job_done"]
    assert events[-1]["event"] == "run_ended"
    assert changed["limited"].stderr == ""


def test_the_pictures_before_the_change_are_kept_listed_made_again_and_brought_back(
    changed, tmp_path
):
    root = Path(shutil.copytree(changed["root"], tmp_path / "studio"))
    report = json.loads(pipeline(root, "explain", "inbox/cup.png", "--json").stdout)
    (version,) = report["versions"]  # of what was deleted there is none
    assert version["style"] == "mosaic"
    plain, enhanced, _ = (root / "outbox" / output["path"] for output in version["outputs"])
    again = pipeline(root, "explain", str(enhanced), "--again", "again.png")
    assert (again.returncode, again.stderr) == (0, "")
    assert (root / "again.png").read_bytes() == enhanced.read_bytes()
    wanted, present = plain.read_bytes(), (root / "outbox" / "cup--mosaic.png").read_bytes()
    assert wanted != present
    back = pipeline(root, "restore", "inbox/cup.png")
    assert (back.returncode, back.stderr) == (0, "")
    assert (root / "outbox" / "cup--mosaic.png").read_bytes() == wanted
    assert run_log(root)[-1]["event"] == "job_restored"
    assert '"cup.png"' in (root / "outbox" / ".gallery" / "chunk-0001.js").read_text()
    assert ".versions" not in (root / "outbox" / ".gallery" / "chunk-0001.js").read_text()
    said = pipeline(root, "run", "--dry-run")
    assert "skip   cup.png  mosaic  restored" in said.stdout
    assert "make" not in said.stdout
    twice = pipeline(root, "restore", version["version"])
    assert twice.returncode == 2
    assert "no earlier version" in twice.stderr


# --- what is recorded is what was used -------------------------------------------------------

AGAIN = """
import sys
from pathlib import Path
from pipeline.cli.main import main

out = Path(sys.argv[1])
for number, picture in enumerate(sys.argv[2:]):
    sys.argv = ["pipeline", "explain", picture, "--again", str(out / f"{number}.png")]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, picture
"""


def not_made_again(root: Path, out: Path, names: Iterable[str]) -> list[str]:
    """The finished pictures that a fresh process, asked for each once more, makes differently."""
    out.mkdir()
    names = list(names)
    program = [sys.executable, "-c", AGAIN, out, *(root / "outbox" / name for name in names)]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [
        name
        for number, name in enumerate(names)
        if (root / "outbox" / name).read_bytes() != (out / f"{number}.png").read_bytes()
    ]


def test_finished_pictures_are_made_again_byte_for_byte_by_a_fresh_process(changed, tmp_path):
    """One that is as it was, one of a changed option, one of a new style."""
    names = ["trip/flag--waves.png", "cup--mosaic.enhanced.png", "turned--ink.png"]
    assert not_made_again(changed["root"], tmp_path / "again", names) == []


def test_a_painting_replaced_under_its_old_time_while_watch_runs_is_painted_and_recorded(tmp_path):
    """And once more: the third picture is of the first painting again, now in a worn process."""
    root = tmp_path / "studio"
    (root / "inbox").mkdir(parents=True)
    make_photo(root / "inbox" / "cup.png")
    first, second = (plain_picture(tmp_path / f"{n}.bmp", n) for n in (1, 2))
    painting = shutil.copy(first, root / "sea.bmp")
    (root / "config.yaml").write_text(FAST + SCAN_OFTEN + "styles: {sea: {image: sea.bmp}}\n")
    seen = []
    with start(root, "watch") as process:
        for replaced_by in (second, first, None):
            wait_for(process, "done     cup.png x sea")
            seen.append((root / "outbox" / "cup--sea.png").read_bytes())
            if replaced_by is not None:
                swap(Path(painting), replaced_by)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert seen[0] == seen[2] != seen[1]
    names = ["cup--sea.png", "cup--sea.enhanced.png"]
    assert not_made_again(root, tmp_path / "again", names) == []
    assert {line["attempt"] for line in run_log(root)} == {1}


# --- watching and stopping ------------------------------------------------------------------


@pytest.fixture
def watching(finished, tmp_path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    root = good_part(finished[0], tmp_path / "studio")
    with start(root, "watch") as process:
        yield root, process


def test_watch_takes_a_dropped_file_and_sigterm_stops_it_cleanly(watching, tmp_path):
    root, process = watching
    wait_for(process, "watching")
    make_photo(tmp_path / "late.jpg")
    (tmp_path / "late.jpg").rename(root / "inbox" / "late.jpg")
    wait_for(process, "done     late.jpg x mosaic")
    wait_for(process, "done     late.jpg x waves")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert err == ""
    assert "2 done" in out.splitlines()[-1]
    assert pair("late.jpg", "mosaic") | pair("late.jpg", "waves") <= set(pictures(root))


def test_ctrl_c_gives_130_leaves_no_half_picture_and_loses_no_job(tmp_path):
    root = make_project(tmp_path / "studio")
    forever = FAST.replace("[2]", "[100000]")
    (root / "config.yaml").write_text(forever + NO_WAIT + STYLES)
    with start(root, "run") as process:
        wait_for(process, "started")
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert pictures(root) == {}
    assert {p.name for p in (root / "outbox").iterdir()} <= {"runs.jsonl", "index.html", ".gallery"}
    jobs = json.loads(pipeline(root, "status", "--json").stdout)["jobs"]
    assert jobs["running"] == jobs["staged"] == 0
    assert jobs["queued"] >= 1
