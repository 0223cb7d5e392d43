"""The packages import each other as the table says, in no circle; each library has its doors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

PACKAGE = ROOT / "pipeline"

# What each package may import, besides `errors`. Compared with the code for equality: an entry that
# nothing uses any more is taken out here as well.
ALLOWED = {
    "system": "",
    "config": "system",
    "imaging": "system config",
    "jobs": "system config",
    "nst": "system config imaging",
    "enhance": "system config imaging nst",
    "ledger": "system jobs",
    "outbox": "system config jobs",
    "monitoring": "system config jobs",
    "inbox": "system config imaging jobs ledger",
    "render": "system config imaging jobs nst enhance outbox",
    "gallery": "system config outbox monitoring",
    "workers": "system config jobs render",
    "daemon": "system config jobs ledger outbox monitoring inbox gallery workers",
    "cli": "system config imaging jobs ledger monitoring inbox render gallery workers daemon",
}
DOORS = {
    "yaml": {"config/yaml_file"},
    "PIL": {
        "imaging/animation",
        "imaging/arrays",
        "imaging/color_management",
        "imaging/decode",
        "imaging/encode",
        "render/timelapse",
    },
    "pillow_heif": {"imaging/decode", "imaging/encode"},
    "simplejpeg": {"imaging/survey/jpeg"},
    "av": {"imaging/animation"},
    "torchvision": {"nst/weights"},
    "joblib": {"render/vision/mtcnn_weights"},
    "onnx": {"render/vision/vit"},
    "spandrel": {"enhance/learned_upscaler"},
    "safetensors": {"enhance/learned_upscaler"},
    "watchdog": {"inbox/watcher"},
    "rich": {
        "monitoring/terminal/frame",
        "monitoring/terminal/jobs_table",
        "monitoring/terminal/layout",
    },
    "prometheus_client": {"monitoring/metrics"},
    "sqlite3": {"ledger/database"},
    "typer": {
        "cli/common",
        "cli/flags",
        "cli/folder_commands",
        "cli/main",
        "cli/picture_commands",
        "cli/setup_commands",
    },
    "filelock": {"daemon/instance"},
    "ray": {"workers/ray_cluster/connection", "workers/ray_cluster/node_worker"},
    "cronsim": {"config/schedule"},
    "wcmatch": {"config/patterns"},
}
# What the code of the papers, which is usable alone, may know of the rest.
NST_KNOWS = {
    "pipeline.config.transfer",
    "pipeline.imaging.resampling",
    "pipeline.system.malloc",
    "pipeline.system.safe_files",
}


def test_packages_import_each_other_exactly_as_the_table_says(package_map):
    assert package_map.package_graph() == {name: set(may.split()) for name, may in ALLOWED.items()}


def test_no_package_and_no_file_stands_in_a_circle_of_imports(package_map):
    assert package_map.circles(package_map.package_graph()) == []
    assert package_map.circles(package_map.module_graph()) == []


def test_the_papers_code_knows_little_of_the_rest(package_map):
    known = {
        imported
        for module, found in package_map.module_graph().items()
        if module.startswith("pipeline.nst")
        for imported in found
        if not imported.startswith("pipeline.nst")
    }
    assert known - {"pipeline.errors"} == NST_KNOWS


def test_a_circle_would_be_found(package_map):
    assert package_map.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [
        ["a", "b", "c"]
    ]


@pytest.mark.parametrize("library", DOORS)
def test_each_library_is_used_by_exactly_its_doors(library, package_map):
    users = {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in package_map.modules().values()
        if any(name.partition(".")[0] == library for name in package_map.imported_names(path))
    }
    assert users == DOORS[library]


def test_every_file_begins_with_a_sentence(package_map):
    for path in package_map.modules().values():
        line = package_map.first_line(path)
        assert line.endswith((".", "?")), f"{path.relative_to(ROOT)}: {line!r}"


def test_no_function_is_longer_than_a_screen(package_map):
    """60 lines, docstring included: what does not fit is two functions."""
    for path in package_map.modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 60, f"{path.relative_to(PACKAGE)}: {node.name}"


def test_the_house_keeps_its_size(package_map):
    """At most 19 entries on top, 18 modules a folder, 11 levels of packages."""
    top = {path.relative_to(PACKAGE).parts[0] for path in package_map.modules().values()}
    assert len(top | {"styles"}) <= 19
    for folder in {path.parent for path in package_map.modules().values()}:
        files = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
        assert len(files) <= 18, folder.name
    assert max(package_map.levels(package_map.package_graph()).values()) < 11


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
