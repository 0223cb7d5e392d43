"""The lowest version of each dependency that pyproject.toml allows, as constraints for pip.

`make test-lowest` runs the quick tests with them: a floor that is not tested is a guess. Packages
without a floor are left out. Needs Python alone, since it runs before anything is installed.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
ASKED = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?\s*>=(?P<floor>[\w.]+)[^;]*(;\s*(?P<marker>.+))?")


def read_requirements(project: Path = PROJECT) -> list[str]:
    """What the program, its extras and its tests ask for."""
    found = tomllib.loads(project.read_text())["project"]
    extras = found["optional-dependencies"].values()
    return [*found["dependencies"], *(line for extra in extras for line in extra)]


def find_lowest(requirements: Iterable[str]) -> dict[str, str]:
    """Each package with a floor, as `name==version`; two floors of one package must be the same."""
    lowest: dict[str, str] = {}
    for text in requirements:
        if asked := ASKED.fullmatch(text):
            marker = f"; {asked['marker']}" if asked["marker"] else ""
            line = f"{asked['name']}=={asked['floor']}{marker}"
            if lowest.setdefault(asked["name"].lower(), line) != line:
                raise SystemExit(f"{asked['name']} has two floors: make them one in {PROJECT.name}")
    return lowest


if __name__ == "__main__":
    print("\n".join(find_lowest(read_requirements()).values()))
