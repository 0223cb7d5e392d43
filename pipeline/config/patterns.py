"""Glob patterns of the config, checked when it is read and compiled once; uses wcmatch."""

import os
import re
from functools import lru_cache

from wcmatch import glob

MOST_ALTERNATIVES = 1000  # that the braces of a pattern may expand to
MOST_CHARACTERS = 1000
MAX_SHOWN = 200  # characters of a library's error message
# Each may match from any folder of a deep path on: the number of combinations explodes.
MOST_GLOBSTARS = 4

# Case counts on every system and "**" spans folders: a manifest means the same everywhere.
_FLAGS = glob.GLOBSTAR | glob.CASE | glob.DOTGLOB | glob.BRACE


def check_pattern(pattern: str) -> str:
    """The pattern, after checking that matching it is quick and cannot fail.

    Raises:
        ValueError: With a message for the config's author.
    """
    if len(pattern) > MOST_CHARACTERS:
        raise ValueError(f"a pattern may have at most {MOST_CHARACTERS} characters")
    if pattern.count("**") > MOST_GLOBSTARS:
        raise ValueError(f"a pattern may contain '**' at most {MOST_GLOBSTARS} times")
    try:
        _compiled(pattern)
    except Exception as error:  # wcmatch's error for too many braces has no public name
        if "limit" in type(error).__name__.lower():
            most = f"{MOST_ALTERNATIVES} alternatives"
            raise ValueError(f"the braces of this pattern expand to more than {most}") from None
        raise ValueError(f"not a valid pattern: {str(error)[:MAX_SHOWN]}") from None
    return pattern


def matches(content: str, pattern: str) -> bool:
    """Whether a path relative to the inbox matches a pattern of the config."""
    # A backslash is part of a name here, not a separator. Lone surrogates are accepted by wcmatch.
    name = content.replace(os.sep, "/")
    return any(regex.match(name) for regex in _compiled(pattern))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[re.Pattern[str], ...]:
    """One regular expression for each alternative in braces; cached for all photos."""
    wanted, _ = glob.translate(pattern, flags=_FLAGS, limit=MOST_ALTERNATIVES)
    return tuple(map(re.compile, wanted))
