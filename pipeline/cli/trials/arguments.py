"""Tells photos from paintings among the arguments of `try`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.config.loading import Loaded
from pipeline.config.manifest import Style, find_image, starter_styles
from pipeline.config.model import BUILTIN
from pipeline.config.new_studio import find_paintings, name_styles
from pipeline.config.picture_files import picture_problem
from pipeline.config.transfer import resolve_transfer
from pipeline.errors import UsageError
from pipeline.render.trials.candidates import Candidate
from pipeline.system.near_names import nearest_name
from pipeline.system.paths import is_file, is_folder, real_path


def sort_arguments(
    words: Sequence[str], photos: Iterable[str], styles: Iterable[str], loaded: Loaded
) -> tuple[tuple[Path, ...], tuple[Candidate, ...]]:
    """The photos and the styles that a command line names.

    The first word is a photo. Another one is a photo if it is a file in the inbox; everything else
    is a painting: the name of a style, ``builtin:NAME``, a picture or a folder of pictures.

    Args:
        words: The arguments.
        photos: Those of ``--photo``.
        styles: Those of ``--style``.
        loaded: The config in force; all its styles are tried if no painting is named.

    Raises:
        UsageError: One of them cannot be used.
    """
    named_photos, named_styles = list(words[:1]), list(styles)
    for word in words[1:]:
        (named_photos if _is_in_inbox(word, loaded) else named_styles).append(word)
    found = [find_photo(photo, loaded) for photo in (*named_photos, *photos)]
    everything = loaded.manifest.styles or [f"{BUILTIN}{name}" for name in starter_styles()]
    return tuple(dict.fromkeys(found)), tuple(_find_styles(named_styles or everything, loaded))


def _is_in_inbox(word: str, loaded: Loaded) -> bool:
    inbox = real_path(loaded.config.inbox)
    return is_file(Path(word)) and real_path(Path(word)).is_relative_to(inbox)


def find_photo(word: str, loaded: Loaded) -> Path:
    """The file of a photo.

    Raises:
        UsageError: It is a painting's name, or no picture.
    """
    path = Path(word).expanduser()
    if word.startswith(BUILTIN) or (word in loaded.manifest.styles and not is_file(path)):
        hint = "name a photo first, and then paintings"
        raise UsageError("is a style, not a photo", where=word, hint=hint)
    if (problem := picture_problem(path, "name a photo first, and then paintings")) is not None:
        raise UsageError(problem[0], where=word, hint=problem[1])
    return real_path(path)


def _find_styles(words: Iterable[str], loaded: Loaded) -> Iterator[Candidate]:
    """The styles that words name, each once.

    Raises:
        UsageError: One is no style, no picture and no folder of pictures.
    """
    known = loaded.manifest.styles
    sources = dict.fromkeys(_expand(words, loaded))
    named = name_styles([each for each in sources if each not in known], known)
    names = {source: name for name, source in named.items()}
    for source in sources:
        if source in known:
            yield known_style(known[source], loaded)
        else:
            yield _new_style(names[source], source, loaded)


def _expand(words: Iterable[str], loaded: Loaded) -> Iterator[str]:
    """Names of styles, ``builtin:NAME`` and absolute paths, a folder as the pictures in it."""
    known = loaded.manifest.styles
    of_path = {s.images[0][0]: s.name for s in known.values() if len(s.images) == 1}
    for word in words:
        if word in known:
            yield word
            continue
        _check_painting(word, loaded)
        for source in find_paintings([word], "try"):
            path = find_image(source, "try")
            own = of_path.get(path)  # a style of the config has options of its own
            yield own or (source if source.startswith(BUILTIN) else str(path))


def _check_painting(word: str, loaded: Loaded) -> None:
    path = Path(word).expanduser()
    if word.startswith(BUILTIN) or is_folder(path):
        if is_folder(path) and real_path(path).is_relative_to(real_path(loaded.config.inbox)):
            hint = "name the photos one by one; a folder is one of paintings"
            raise UsageError("is the inbox, or in it", where=word, hint=hint)
        return
    near = nearest_name(word, loaded.manifest.styles, cutoff=0.6)
    hint = f"did you mean {near!r}?" if near else "a style's name, a picture, or a folder of them"
    if (problem := picture_problem(path, hint)) is not None:
        raise UsageError(problem[0], where=word, hint=problem[1])


def known_style(style: Style, loaded: Loaded) -> Candidate:
    """A style of the config, or a starter style where there is none."""
    image = "" if loaded.found else json.dumps(style.origins[0])
    options_file = loaded.config.options_file(style.name)
    return Candidate(style.name, style.images, style.transfer, image, options_file)


def _new_style(name: str, source: str, loaded: Loaded) -> Candidate:
    """A painting that is no style yet."""
    written, base = source, real_path(loaded.path.absolute().parent)
    if not source.startswith(BUILTIN) and Path(source).is_relative_to(base):
        written = Path(source).relative_to(base).as_posix()
    options = resolve_transfer(loaded.config.preset, loaded.config.transfer)
    image = json.dumps(written, ensure_ascii=False)
    return Candidate(name, ((find_image(source, "try"), 1.0),), options, image)
