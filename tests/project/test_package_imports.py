"""The house: imports go downward only, and each library has one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pipeline"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")

# Bottom first. A module may import those of lower floors, and those before it on its own.
FLOORS = [
    ["wrong_python", "interpreter", "errors", "disk", "kinds", "heap", "paths", "private",
     "patterns", "options",
     "chain", "formats",
     "clock", "schedule", "cluster", "sections",
     "yamlfile",
     "complaints", "config", "manifest", "jobs"],
    ["names", "icc", "ifd", "metadata", "provenance", "undecodable", "stated", "pngs",
     "jpegs", "tiffs", "boxes", "survey", "colour", "codec", "deep",
     "resampling", "encode", "nst", "images", "enhance", "stylecache", "database", "records",
     "stamp", "tables", "diary", "sightings", "lookup", "history", "ledger", "runlog", "outbox",
     "versions", "terminal",
     "mounts", "lock", "preview", "view", "faults", "pause", "nursery", "decoder", "checkpoint",
     "folder",
     "journal", "metrics", "notify", "pulse", "batch", "rows", "lanes", "units",
     "sidecar", "thumbnails", "live", "timelapse", "reporter", "staging",
     "cores", "outlet", "statefile", "holding", "gate", "estimate", "tally"],
    ["worker"],
    ["frame", "inbox", "familiar", "census", "watcher", "recipes", "ingredients", "voice",
     "workshop", "slots",
     "ray_connect", "ray_cargo", "ray_folder", "ray_node", "ray_hired", "ray_engine", "executors",
     "dashboard", "hooks",
     "originals", "quarantine", "examiner", "intake", "exhibits", "markup", "gallery", "serving",
     "accounts",
     "queueing", "replacing", "blame", "planner", "outcomes", "bulk"],
    ["service", "targets", "single"],
    ["flags", "observers", "running", "dryrun", "retries", "restoring", "reports", "doctor",
     "ordering", "origins", "serve"],
    ["command", "folder_commands", "picture_commands", "setup_commands"],
    ["cli", "__main__"],
]  # fmt: skip
DOORS = {
    "yaml": {"yamlfile"},
    "PIL": {"codec", "colour", "encode", "timelapse"},
    "pillow_heif": {"codec", "encode"},
    "simplejpeg": {"jpegs"},
    "av": {"timelapse"},
    "torchvision": {"nst/weights"},
    "spandrel": {"enhance/learned"},
    "safetensors": {"enhance/learned"},
    "watchdog": {"watcher"},
    "rich": {"dashboard", "frame", "lanes", "rows", "terminal"},
    "prometheus_client": {"metrics"},
    "sqlite3": {"database", "ledger", "records"},
    "typer": {"cli", "command", "flags", "folder_commands", "picture_commands", "setup_commands"},
    "filelock": {"lock"},
    "ray": {"ray_connect", "ray_node"},
    "cronsim": {"schedule"},
    "wcmatch": {"patterns"},
}


def imports(path: Path) -> set[str]:
    """Modules a file imports, at its top or late."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    return str(path.relative_to(PACKAGE).with_suffix("")).partition("/")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward_only(path: Path) -> None:
    order = [name for floor in FLOORS for name in floor]
    here = order.index(room(path))
    for name in imports(path):
        top, _, rest = name.partition(".")
        below = rest.partition(".")[0]
        if top == "pipeline" and below in order and below != room(path):
            assert order.index(below) < here, f"{room(path)} imports {below}"


# Words that open files, start programs or take a file's time for its version, and where they may
# stand. All else goes through `disk`, `interpreter` and `stamp`.
WATCHED = {
    *("open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "touch"),
    *("subprocess", "multiprocessing", "st_mtime", "st_mtime_ns"),
}
ALLOWED = {
    "disk": {"open": "the door", "fdopen": "the door"},
    "stamp": {"st_mtime_ns": "one part of a stamp"},
    "decoder": {"subprocess": "the nursery; the command is the interpreter's"},
    "slots": {
        "subprocess": "workers; the command is the interpreter's",
        "multiprocessing": "its pipes only",
    },
    "ray_connect": {"subprocess": "a probe that may hang; the command is the interpreter's"},
    "hooks": {"subprocess": "the user's programs"},
    "workshop": {"multiprocessing": "its pipes only"},
    "voice": {"multiprocessing": "its pipes only"},
    "executors": {"multiprocessing": "waits for pipes"},
    "gate": {"open": "hours that are"},
    "codec": {"open": "Pillow, of an open file", "fdopen": "of a descriptor from `disk`"},
    "journal": {"fdopen": "of a descriptor from `disk`"},
    "outlet": {"open": "/dev/null", "fdopen": "standard output and error"},
    "nursery": {"open": "/dev/null"},
    "timelapse": {"open": "PyAV takes a path only; in the job's own folder, made a moment ago"},
    "ray_folder": {"open": "a folder", "st_mtime_ns": "which file was used last"},
    "stylecache": {"fdopen": "a file that mkstemp made", "st_mtime_ns": "which was used last"},
    "gallery": {"st_mtime": "how long ago, not whether it changed"},
    "live": {"st_mtime": "how long ago somebody asked"},
    "inbox": {"st_mtime_ns": "compared beside the other parts of a stamp"},
    "serving/uploads": {"open": "new files, nameless or exclusive"},
    "serving/handler": {"open": "the shelf's own"},
}


def words(path: Path) -> set[str]:
    """The watched words that a module's code uses."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    found = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    found |= {name.id for name in called if isinstance(name, ast.Name)}
    found |= {name.partition(".")[0] for name in imports(path)}
    return found & WATCHED


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_opened_and_programs_started_in_few_places(path: Path) -> None:
    module = str(path.relative_to(PACKAGE).with_suffix(""))
    found, allowed = words(path), set(ALLOWED.get(module, {}))
    assert found <= allowed, "use pipeline.disk, pipeline.interpreter or pipeline.stamp"
    assert found == allowed, "no longer needed in ALLOWED"


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_one_door(library: str) -> None:
    users = {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in FILES
        if any(name.partition(".")[0] == library for name in imports(path))
    }
    assert users <= DOORS[library]


@pytest.mark.parametrize("arguments", [["--help"], ["check"], ["status"], ["styles"], ["schema"]])
def test_looking_never_loads_torch(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text('styles: {a: {image: "builtin:mosaic"}}\n')
    (tmp_path / "inbox").mkdir()
    program = (
        "import sys, runpy; sys.argv = ['pipeline', *sys.argv[1:]]\n"
        "try: runpy.run_module('pipeline', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "print('torch' in sys.modules, code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False 0", done.stderr
