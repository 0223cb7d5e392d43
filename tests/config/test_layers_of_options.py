"""Options come from several places; the last layer that sets one decides, by one function."""

import ast
from pathlib import Path

import pytest
from support import ROOT

from pipeline.cli.flags import option_flags
from pipeline.config.enhancement import Enhance
from pipeline.config.loading import json_schema, load_config
from pipeline.config.manifest import load_manifest
from pipeline.config.sidecar import merge_side_files
from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.errors import InputError
from pipeline.jobs.recipe import Recipe, Recipes
from pipeline.render.grid import build_cell_orders, transfer_axis
from pipeline.render.single import Order


def recipe(folder: Path, config: str, side_files: dict[str, str]) -> Recipe:
    """Of the photo a/p.jpg in the style s."""
    path = folder / "config.yaml"
    path.write_text(config)
    found = {}
    for name, text in side_files.items():
        file = folder / name.replace("/", "-")
        file.write_text(text)
        found[name] = (file, text)
    loaded = load_config(path)
    manifest = load_manifest(loaded, path)
    side = merge_side_files("a/p.jpg", found, manifest, loaded)
    return Recipes(loaded).recipe_for(manifest.styles["s"], side)


LAYERS = [
    ("the preset", "preset: draft\n", "", {}, 256),
    ("transfer", "preset: draft\ntransfer: {size: 100}\n", "", {}, 100),
    ("the style", "preset: draft\ntransfer: {size: 100}\n", "size: 101", {}, 101),
    ("the root", "transfer: {size: 100}\n", "size: 101", {"_folder.yaml": 102}, 102),
    ("the folder", "", "size: 101", {"_folder.yaml": 102, "a/_folder.yaml": 103}, 103),
    ("the photo", "", "size: 101", {"a/_folder.yaml": 103, "a/p.jpg.yaml": 104}, 104),
    # An option set to its default is set: it counts.
    ("a default", "transfer: {size: 100}\n", "", {"a/p.jpg.yaml": 512}, 512),
]


@pytest.mark.parametrize(("name", "config", "style", "sides", "size"), LAYERS)
def test_the_last_layer_that_sets_an_option_decides(
    tmp_path: Path, name: str, config: str, style: str, sides: dict[str, int], size: int
) -> None:
    text = f'{config}styles: {{s: {{image: "builtin:mosaic", transfer: {{{style}}}}}}}\n'
    files = {path: f"transfer: {{size: {side}}}\n" for path, side in sides.items()}
    assert recipe(tmp_path, text, files).transfer.size == size


STYLES = 'styles: {s: {image: "builtin:mosaic"}}\n'


def test_a_side_file_may_set_a_time_if_it_may_set_all_sizes_that_come_of_it(tmp_path: Path) -> None:
    timed = {"a/p.jpg.yaml": "transfer: {within: 2m}\n"}
    assert recipe(tmp_path, STYLES, timed).transfer.within == 120
    with pytest.raises(InputError, match=r"within: at most 1000 px from a side file"):
        recipe(tmp_path, f"limits: {{side: 1000}}\n{STYLES}", timed)
    large = {"a/p.jpg.yaml": "transfer: {within: 2m}\nenhance: {upscale: 4}\n"}
    with pytest.raises(InputError, match="at most 4096 px from a side file"):
        recipe(tmp_path, STYLES, large)


def test_a_time_is_unset_by_null(tmp_path: Path) -> None:
    none = {"a/p.jpg.yaml": "transfer: {within: null, size: 300}\n"}
    made = recipe(tmp_path, f"transfer: {{within: 30s}}\n{STYLES}", none)
    assert (made.transfer.within, made.transfer.size) == (None, 300)


def test_options_that_no_upper_layer_sets_stay_those_of_the_lower(tmp_path: Path) -> None:
    made = recipe(
        tmp_path,
        "preset: draft\ntransfer: {tv_weight: 0.5}\nenhance: {preset: vivid}\n"
        'styles: {s: {image: "builtin:mosaic", transfer: {content_weight: 0.7}}}\n',
        {"a/p.jpg.yaml": "transfer: {pooling: l2}\nenhance: {grain: 0.1}\n"},
    )
    lower = Transfer(tv_weight=0.5, content_weight=0.7, pooling="l2")
    assert made.transfer == resolve_transfer("draft", lower)
    assert made.enhance == Enhance(preset="vivid", grain=0.1)


def test_a_cell_of_sweep_lies_over_the_flags(tmp_path: Path) -> None:
    flags = resolve_transfer("draft", Transfer(content_weight=0.2, style_scale=2.0))
    order = Order(tmp_path / "p.jpg", (), flags, Enhance(), "embedded", 0, "cpu")
    ((_, cell, _),) = build_cell_orders(
        order,
        tmp_path,
        transfer_axis("content_weight", [0.9]),
        transfer_axis("tv_weight", [0.1]),
    )
    given = Transfer(content_weight=0.9, tv_weight=0.1, style_scale=2.0)
    assert cell.transfer == resolve_transfer("draft", given)


@pytest.mark.parametrize("name", Transfer.model_fields)
def test_a_field_of_the_transfer_is_a_key_of_config_and_side_files_and_a_flag(name: str) -> None:
    schema = json_schema()
    style = schema["$defs"]["StyleEntry"]["properties"]["transfer"]
    assert schema["properties"]["transfer"]["$ref"] == style["$ref"] == "#/$defs/Transfer"
    assert name in schema["$defs"]["Transfer"]["properties"]
    assert name in {flag.name for flag in option_flags()}


def chosen_call(node: ast.AST) -> bool:
    """Whether a piece of code is ``SOMETHING.chosen()``."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "chosen"
    )


def merges_options(node: ast.AST) -> bool:
    """``a.chosen() | b``, ``x |= a.chosen()`` or ``Model(**a.chosen())``."""
    if isinstance(node, ast.BinOp):
        return chosen_call(node.left) or chosen_call(node.right)
    if isinstance(node, ast.AugAssign):
        return chosen_call(node.value)
    return isinstance(node, ast.keyword) and node.arg is None and chosen_call(node.value)


def reads_a_built_name(node: ast.AST) -> bool:
    """``getattr(x, f"{name}_weight")``: the option is read where no search finds it."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "setattr")
        and isinstance(node.args[1], ast.JoinedStr | ast.BinOp)
    )


def places(finder) -> set[str]:
    return {
        path.relative_to(ROOT / "pipeline").as_posix()
        for path in (ROOT / "pipeline").rglob("*.py")
        if any(map(finder, ast.walk(ast.parse(path.read_text()))))
    }


def test_options_are_merged_in_one_place() -> None:
    assert places(merges_options) == {"config/base.py"}


def test_no_option_is_read_by_a_name_built_at_run_time() -> None:
    assert places(reads_a_built_name) == set()
