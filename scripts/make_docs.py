"""Write the generated parts of the documentation: `python scripts/make_docs.py`, or `make docs`.

Between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` stands what the program itself says: keys
and defaults from the models, help texts from the commands, the house from the modules' first lines.
tests/project/test_documentation.py fails where they differ.
"""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import package_map
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.cli import main as cli
from pipeline.cli.common import usage_word
from pipeline.cli.flags import option_flags
from pipeline.cli.picture_commands import OptionsCommand
from pipeline.config.accepted import accepted, yaml_value
from pipeline.config.model import Config
from pipeline.config.transfer import PRESETS

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/config.md", "docs/commands.md", "docs/development/packages.md")
SECTION = "keys, see below"  # what `accepted` says of a key with keys below
PICTURE = "docs/pictures/packages.svg"
BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def rendered(text: str) -> str:
    """A page with its generated parts as they should be."""
    return BLOCK.sub(lambda m: f"{m[1]}{PARTS[m[2]]()}\n{m[3]}", text)


# --- config.yaml ----------------------------------------------------------------------------


def keys() -> str:
    """The keys of the top level."""
    return _table(Config)


def sections() -> str:
    """A table for each group of keys."""
    groups = list(_groups(Config, ""))
    return "\n\n".join(f"## `{path}`\n\n{_doc(model)}\n\n{_table(model)}" for path, model in groups)


def presets() -> str:
    """What each preset lays over the defaults."""
    rows = ["| preset | options |", "|---|---|"]
    for name, options in PRESETS.items():
        keys = ", ".join(f"`{key}: {yaml_value(value)}`" for key, value in options.items())
        rows.append(f"| `{name}` | {keys} |")
    return "\n".join(rows)


def _groups(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each model below, once, by the key path that leads to it."""
    seen = set()
    for name, field in model.model_fields.items():
        shape = str(field.annotation)
        step = ".NAME" if shape.startswith("dict") else "[]" if "tuple" in shape else ""
        for found in _models(field.annotation):
            if found not in seen:
                seen.add(found)
                yield f"{path}{name}{step}", found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | meaning | accepted | default |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        words = accepted(model, name, quote="`")
        if SECTION in words:
            words = words.replace(SECTION, f"[keys](#{_anchor(field)})")
        cells = (f"`{name}`", _description(name, field), words, _default(field))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _description(name: str, field: FieldInfo) -> str:
    if not field.description:
        raise SystemExit(f"{name} has no description: give it one where it is declared")
    return field.description


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel):
        return ""  # the description says what happens, or the section's own table does
    return f"`{yaml_value(value)}`"


def _anchor(field: FieldInfo) -> str:
    """The heading of the section that holds the keys of a field, as Markdown links to it."""
    (model,) = _models(field.annotation)
    path = next(path for path, found in _groups(Config, "") if found is model)
    return re.sub(r"[^\w-]", "", path.lower())


# --- commands -------------------------------------------------------------------------------


def commands() -> str:
    """What each command says of itself, and of its arguments."""
    group: Any = typer.main.get_command(cli.app)
    return "\n\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    """From the same values as ``--help``, whose looks change with typer's version."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    rows = [_row(_usage(p), p.help) for p in arguments]
    rows += [_row(_flag(p), _said(p)) for p in options]
    if name == "stylize":
        rows += [_row(_flag(p), _said(p)) for p in option_flags()]
    elif isinstance(command, OptionsCommand):
        rows += ["| all options of `stylize` | from `--size` on |"]
    usage = " ".join(["pipeline", name, "[OPTIONS]", *map(_usage, arguments)])
    table = "\n\n| argument | meaning |\n|---|---|\n" + "\n".join(rows) if rows else ""
    return f"## {name}\n\n`{usage}`\n\n{command.help}{table}{_examples(command)}"


def _examples(command: Any) -> str:
    """The examples at the end of a command's help, as lines to be copied."""
    lines = [line.strip() for line in (command.epilog or "").splitlines()[2:]]
    return "\n\n```sh\n" + "\n".join(lines) + "\n```" if lines else ""


def _row(name: str, text: str) -> str:
    return "| `{}` | {} |".format(*(cell.replace("|", r"\|") for cell in (name, text)))


def _usage(argument: Any) -> str:
    return usage_word(argument)


def _flag(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ", ".join(option.opts) + value


def _said(option: Any) -> str:
    if option.required:
        return f"{option.help} (required)"
    silent = option.default is None or option.default == "" or option.is_flag
    return option.help if silent else f"{option.help} [default: {option.default}]"


PARTS = {
    "keys": keys, "sections": sections, "presets": presets, "commands": commands,
    "tree": package_map.tree, "table": package_map.table,
}  # fmt: skip


def main() -> None:
    for page in PAGES:
        path = ROOT / page
        before = path.read_text()
        after = rendered(before)
        if after != before:
            path.write_text(after)
            print(f"{page} written")
    (ROOT / PICTURE).write_text(package_map.picture())


if __name__ == "__main__":
    main()
