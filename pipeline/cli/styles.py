"""`styles`: the styles of the config, and the starter styles. `check`: which photos get which."""

import os
from contextlib import suppress
from pathlib import Path

from pipeline.cli.report_rows import Report
from pipeline.config.file_kinds import is_unseen
from pipeline.config.loading import Loaded
from pipeline.config.manifest import Manifest, starter_styles
from pipeline.config.model import BUILTIN
from pipeline.errors import PipelineError
from pipeline.system.near_names import nearest_name
from pipeline.system.text import format_count, visible

MOST_FOLDERS = 100  # shown by `check`


def styles_report(loaded: Loaded) -> Report:
    """The styles of the config, and the starter styles to choose from."""
    return {
        "starters": [f"{BUILTIN}{name}" for name in starter_styles()],
        "styles": [
            {
                "name": style.name,
                "images": [
                    {"origin": origin, "path": str(path), "weight": round(weight, 4)}
                    for origin, (path, weight) in zip(style.origins, style.images, strict=True)
                ],
                "transfer": style.transfer.model_dump(mode="json"),
                "options": str(style.side_file) if style.side_file else None,
            }
            for style in (loaded.manifest.styles.values() if loaded.found else ())
        ],
    }


def styles_text(report: Report) -> str:
    """The report for people."""
    lines = []
    for style in report["styles"]:
        images = style["images"]
        shares = [f"{image['origin']} ({image['weight']:.0%})" for image in images]
        origin = images[0]["origin"] if len(images) == 1 else ", ".join(shares)
        options = f", options in {Path(style['options']).name}" if style["options"] else ""
        lines.append(f"{style['name']:20}{origin}{options}")
    lines += ["", "starter styles, for config.yaml and for `stylize`:"]
    lines += [f"  {name}" for name in report["starters"]]
    return "\n".join(map(visible, lines))


# --- check ----------------------------------------------------------------------------------


def describe_matching(loaded: Loaded) -> str:
    """Which photos get which styles, in a few words."""
    rules = loaded.config.match
    if isinstance(rules, tuple):
        return format_count(len(rules), "match rule")
    if rules is not None:
        return "each photo gets the style that has the name of its folder"
    return "every photo gets every style"


def describe_folders(loaded: Loaded) -> list[str]:
    """With `match: by_folder`, which style each folder of the inbox gives its photos."""
    manifest = loaded.manifest
    if manifest.by_folder is None:
        return []
    folders = _list_folders(loaded.config.inbox)
    lines = [_describe_folder(folder, manifest) for folder in folders[:MOST_FOLDERS]]
    more = len(folders) - len(lines)
    others = "all other photos" if folders else "all photos"
    every = f"  {others}: every style"
    return [*lines, *([f"  and {format_count(more, 'folder')} more"] if more > 0 else []), every]


def _describe_folder(folder: str, manifest: Manifest) -> str:
    if style := manifest.folder_style(f"{folder}/photo"):
        return f"  {folder}/: {style.name}"
    near = nearest_name(folder.rpartition("/")[2], manifest.styles)
    hint = f" (did you mean {near!r}?)" if near else ""
    return f"  {folder}/: no style has this name, so every style{hint}"


def _list_folders(inbox: Path) -> list[str]:
    """The folders of the inbox, as photos name them."""
    found = []
    for place, folders, _ in os.walk(inbox):
        folders[:] = sorted(name for name in folders if not is_unseen(name))
        found += [Path(place, name).relative_to(inbox).as_posix() for name in folders]
    return sorted(found)


def describe_unwanted(loaded: Loaded) -> list[str]:
    """How many pictures no rule wants any more, if there are any. Reads no photo."""
    from pipeline.daemon.preview import preview
    from pipeline.ledger.ledger import FILE

    if (loaded.config.state / FILE).exists():
        with suppress(PipelineError):  # without the inbox it is unknown what is wanted
            return list(filter(None, [preview(loaded, only="").unwanted.words()]))
    return []
