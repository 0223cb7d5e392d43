"""Patterns of the config, compiled and bounded when it is read; the only door to wcmatch."""

import os
import re
from functools import lru_cache

from wcmatch import glob

MOST_ALTERNATIVES = 1000  # that braces may stand for
MOST_CHARACTERS = 1000
MOST_SAID = 200  # characters of an error that is not ours
# Each may begin at any folder of a deep path, and all of them together in every combination.
MOST_GLOBSTARS = 4

# Case counts on every system, and "**" spans folders, so one manifest means one thing everywhere.
_FLAGS = glob.GLOBSTAR | glob.CASE | glob.DOTGLOB | glob.BRACE


def checked_pattern(pattern: str) -> str:
    """A pattern of the config, once it is certain that matching it is quick and cannot fail.

    Raises:
        ValueError: In words of the config's reader.
    """
    if len(pattern) > MOST_CHARACTERS:
        raise ValueError(f"a pattern has at most {MOST_CHARACTERS} characters")
    if pattern.count("**") > MOST_GLOBSTARS:
        raise ValueError(f"a pattern has '**' at most {MOST_GLOBSTARS} times")
    try:
        _compiled(pattern)
    except Exception as error:  # wcmatch's own for too many braces has no public name
        if "limit" in type(error).__name__.lower():
            most = f"{MOST_ALTERNATIVES} alternatives"
            raise ValueError(f"the braces of this pattern stand for more than {most}") from None
        raise ValueError(f"not a pattern: {str(error)[:MOST_SAID]}") from None
    return pattern


def fits(content: str, pattern: str) -> bool:
    """Whether a path relative to the inbox fits a pattern of the config."""
    # wcmatch refuses lone surrogates nowhere, but a backslash is data here, not a separator.
    name = content.replace(os.sep, "/")
    return any(regex.match(name) for regex in _compiled(pattern))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[re.Pattern[str], ...]:
    """One regular expression for each alternative in braces; ten thousand photos ask for it."""
    wanted, _ = glob.translate(pattern, flags=_FLAGS, limit=MOST_ALTERNATIVES)
    return tuple(map(re.compile, wanted))
