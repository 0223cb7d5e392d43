"""Files are opened, programs started and files' times read in few places, each with its reason."""

import ast
from pathlib import Path

import pytest
from support import ROOT

PACKAGE = ROOT / "pipeline"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")

# Words that open files, start programs or take a file's time for its version, and where they may
# stand. All else goes through `safe_files`, `interpreter` and `file_version`.
WATCHED = {
    *("open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "touch"),
    *("subprocess", "multiprocessing", "st_mtime", "st_mtime_ns"),
}
EXCEPTIONS = {
    "system/safe_files": {"open": "the door", "fdopen": "the door"},
    "system/file_version": {"st_mtime_ns": "one part of a stamp"},
    "imaging/sandbox": {"subprocess": "the decoder process; the command is the interpreter's"},
    "workers/device_slot": {
        "subprocess": "workers; the command is the interpreter's",
        "multiprocessing": "its pipes only",
    },
    "workers/ray_cluster/cluster_process": {
        "subprocess": "the process that Ray may end; the command is the interpreter's",
        "multiprocessing": "its pipe only",
    },
    "workers/ray_cluster/connection": {
        "subprocess": "a probe that may hang; the command is the interpreter's"
    },
    "monitoring/hooks": {"subprocess": "the user's programs"},
    "monitoring/hook_output": {"subprocess": "its name for /dev/null"},
    "system/ending": {"subprocess": "the processes that others have started"},
    "workers/worker_process": {"multiprocessing": "its pipes only"},
    "gallery/server/tunings": {
        "subprocess": "the process that paints; the command is the interpreter's",
        "multiprocessing": "its pipes only",
    },
    "cli/trials/live_tune": {"multiprocessing": "its pipes only"},
    "workers/local": {"multiprocessing": "waits for pipes"},
    "daemon/planned_pauses": {"open": "hours that are"},
    "imaging/decode": {
        "open": "Pillow, of an open file",
        "fdopen": "of a descriptor from `safe_files`",
    },
    "monitoring/journal": {"fdopen": "of a descriptor from `safe_files`"},
    "system/stdout": {"open": "/dev/null", "fdopen": "standard output and error"},
    "imaging/sandbox_child": {"open": "/dev/null"},
    "imaging/animation": {
        "open": "PyAV takes a path only; in the job's own folder, made a moment ago"
    },
    "workers/ray_cluster/node_folder": {
        "open": "a folder",
        "st_mtime_ns": "which file was used last",
    },
    "render/style_cache": {"st_mtime_ns": "which was used last"},
    "gallery/writer": {"st_mtime": "how long ago, not whether it changed"},
    "monitoring/live": {"st_mtime": "how long ago a person asked"},
    "inbox/scanner": {"st_mtime_ns": "compared beside the other parts of a stamp"},
    "gallery/server/uploads": {"open": "new files, nameless or exclusive"},
    "gallery/server/request_handler": {"open": "that of OutboxFiles"},
}


def words(path: Path, package_map) -> set[str]:
    """The watched words that a module's code uses."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    found = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    found |= {name.id for name in called if isinstance(name, ast.Name)}
    found |= {name.partition(".")[0] for name in package_map.imported_names(path)}
    return found & WATCHED


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_opened_and_programs_started_in_few_places(path, package_map):
    module = str(path.relative_to(PACKAGE).with_suffix(""))
    found, allowed = words(path, package_map), set(EXCEPTIONS.get(module, {}))
    assert found <= allowed, "use system/safe_files, system/interpreter or system/file_version"
    assert found == allowed, "no longer needed in EXCEPTIONS"
