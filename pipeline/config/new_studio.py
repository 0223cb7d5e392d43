"""A new folder with a commented config.yaml, an inbox, and the first styles."""

import json
import os
import re
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import loading
from pipeline.config.file_kinds import PHOTOS_LISTED, is_photo_name
from pipeline.config.manifest import find_image
from pipeline.config.model import BUILTIN
from pipeline.errors import ConfigError, UsageError
from pipeline.system.paths import is_folder, is_web_address, why_web_address
from pipeline.system.safe_files import error_text, read_bounded, write_whole
from pipeline.system.text import visible

SCHEMA = ".config.schema.json"
PAINTINGS = "paintings"
FIRST_STYLES = (f"{BUILTIN}mosaic", f"{BUILTIN}brush_strokes")
YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
LONGEST_NAME = 230  # bytes; a copy gets a longer hidden name first, and perhaps a number
MAX_PAINTING = 1 << 30  # bytes; a larger file is no painting that could be used

TEMPLATE = """\
# yaml-language-server: $schema={schema}
#
# What is painted, and how. A running `watch` notices when you save this file.
# `pipeline check` tests it; all keys are explained in docs/config.md.

inbox: inbox             # drop photos here
outbox: outbox           # pictures appear here; open outbox/index.html to see all of them
preset: balanced         # draft 256 | balanced 512 | fine 1024 | print 2048 (long side in px)
                         # | paper: the method as published, 384 px
first: draft             # draft: a small picture soon, then the full one | full: only the full one

# Each style is a name of your own, and a painting: a path, or one of the starter styles
# (`pipeline styles` lists them). With only the line "styles: paintings/" instead, every picture
# in that folder is a style.
styles:
{styles}

# Every photo gets every style. To choose, remove the # here: the first rule that matches applies.
# Or write "match: by_folder": a photo gets the style that has the name of its folder.
# match:
#   - {{inbox: "portraits/**", styles: [{first}]}}
#   - {{inbox: "**", styles: [{names}]}}

# Remove the # to change the look of all styles.
# transfer:
#   strength: 0.3        # from the photo (0) to the painting (1); the default is 0.5
#   stroke: 0.7          # from fine strokes (0) to broad ones (1); the default is 0.5
#   colors: content      # keep the photo's colours

# enhance:
#   preset: vivid        # natural, vivid, print or none
#   upscale: 2           # the enhanced picture twice as wide and high
"""


@dataclass(frozen=True, slots=True)
class Created:
    """What `init` made."""

    config: Path
    styles: tuple[str, ...]


def create_studio(folder: Path, paintings: list[str], name: str = "config.yaml") -> Created:
    """Make a folder that `watch` can run in; nothing that is there already is changed.

    Args:
        folder: The folder; it may exist.
        paintings: Paths of pictures or of folders of pictures, which are copied, or
            ``builtin:NAME``. None: two of the starter styles.
        name: The config's name in the folder.

    Raises:
        UsageError: There is a config already, or something named is not a picture.
        ConfigError: The folder cannot be written.
    """
    if is_web_address(str(folder)):
        what, _ = why_web_address(str(folder))
        hint = "name a folder on this machine"
        raise UsageError(what, where=str(folder).replace(":/", "://", 1), hint=hint)
    config = folder / name
    if os.path.lexists(config):
        raise UsageError("already exists", where=str(config), hint="name another folder")
    sources = name_styles(find_paintings(paintings or list(FIRST_STYLES), "init"))
    for source in sources.values():
        _check_can_be_named(source, folder)
    try:
        for made in ("inbox", "outbox", PAINTINGS):
            (folder / made).mkdir(parents=True, exist_ok=True)
        entries = {style: _bring(source, folder) for style, source in sources.items()}
        if not os.path.lexists(folder / SCHEMA):
            write_whole(folder / SCHEMA, json.dumps(loading.json_schema()).encode())
        write_whole(config, _config_text(entries).encode())  # last: it says that all is there
    except OSError as error:
        raise ConfigError(f"cannot be written ({error_text(error)})", where=str(folder)) from None
    loading.load(config)
    return Created(config, tuple(entries))


def created_text(created: Created) -> str:
    """What was made, and what to type next."""
    folder, name = created.config.parent, created.config.name
    option = "" if name == "config.yaml" else f" --config {shlex.quote(name)}"
    return (
        f"Created {created.config} with these styles: {', '.join(created.styles)}.\n"
        f"Put photos into {folder / 'inbox'}, then type:\n\n"
        f"  cd {shlex.quote(str(folder))}\n  pipeline watch{option}"
    )


def find_paintings(named: Iterable[str], command: str) -> list[str]:
    """Each painting by itself: a folder stands for the pictures in it, by name.

    Raises:
        UsageError: A folder has no pictures, or a file is none.
        ConfigError: There is no such file or starter style; ``command`` is where it was named.
    """
    found: list[str] = []
    for source in named:
        path = Path(source).expanduser()
        if not source.startswith(BUILTIN) and is_folder(path):
            inside = sorted(p for p in path.iterdir() if p.is_file() and is_photo_name(p.name))
            if not inside:
                raise UsageError("there is no picture in this folder", where=source)
            found += map(str, inside)
            continue
        find_image(source if source.startswith(BUILTIN) else str(path), command)
        if not source.startswith(BUILTIN) and not is_photo_name(path.name):
            hint = f"a painting is a picture: {PHOTOS_LISTED}"
            raise UsageError("its name is not that of a picture", where=source, hint=hint)
        found.append(source if source.startswith(BUILTIN) else str(path))
    return found


def _check_can_be_named(source: str, folder: Path) -> None:
    """Check what would stop the copy of a painting, before anything is made.

    Raises:
        UsageError: It cannot be copied, or not named in a config.
    """
    if source.startswith(BUILTIN):
        return
    path, home = Path(source).resolve(), folder.resolve()
    where, hint = visible(source), "rename it"
    named = str(path.relative_to(home)) if path.is_relative_to(home) else path.name
    try:
        named.encode()
        if named == path.name and len(os.fsencode(path.name)) > LONGEST_NAME:
            what = f"its name has more than {LONGEST_NAME} bytes"
            raise UsageError(what, where=where, hint="give it a shorter name")
        if path.stat().st_size > MAX_PAINTING:
            what = f"is larger than {MAX_PAINTING / 1e9:.1f} GB"
            raise UsageError(what, where=where, hint="save a smaller copy")
    except UnicodeEncodeError:
        raise UsageError("its name is not UTF-8", where=where, hint=hint) from None
    except OSError as error:
        what = f"cannot be read ({error_text(error)})"
        raise UsageError(what, where=where) from None


def name_styles(sources: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """A style's name for each painting: its file's, in plain letters, each once and not taken."""
    named: dict[str, str] = {}
    for source in dict.fromkeys(sources):
        stem = Path(source.removeprefix(BUILTIN)).stem
        plain = re.sub(r"[^\w.-]+", "_", stem).strip("_.-")[:48] or "painting"
        name, number = plain, 2
        while name in named or name in taken:
            name, number = f"{plain}_{number}", number + 1
        named[name] = source
    return named


def _bring(source: str, folder: Path) -> str:
    """How the config names a painting, which is copied unless it lies in the folder already."""
    if source.startswith(BUILTIN):
        return source
    path, home = Path(source).resolve(), folder.resolve()
    if path.is_relative_to(home):
        return path.relative_to(home).as_posix()
    content = read_bounded(path, most=MAX_PAINTING)
    target, number = folder / PAINTINGS / path.name, 2
    while os.path.lexists(target):
        target = folder / PAINTINGS / f"{path.stem}_{number}{path.suffix}"
        number += 1
    write_whole(target, content)
    return f"{PAINTINGS}/{target.name}"


def _config_text(styles: dict[str, str]) -> str:
    names = [quoted_yaml(name) for name in styles]
    lines = [
        f"  {name}: {{image: {json.dumps(source, ensure_ascii=False)}}}"
        for name, source in zip(names, styles.values(), strict=True)
    ]
    return TEMPLATE.format(
        schema=SCHEMA, styles="\n".join(lines), names=", ".join(names[:4]), first=names[0]
    )


def quoted_yaml(name: str) -> str:
    """A name as a YAML string: what could be read as a number, a date or a word is quoted."""
    plain = re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII) and name.lower() not in YAML_WORDS
    return name if plain else json.dumps(name, ensure_ascii=False)
