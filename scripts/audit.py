"""Known vulnerabilities among what is installed: `make audit`.

pip-audit reports "No known vulnerabilities found" and exits with 0 also where the service behind it
knew none of the packages, as a mirror of the registry does. Here that is a failure of its own.

Exit codes: 0 all that is installed was looked up, and nothing is known; 1 something is known;
2 nothing, or not everything, could be looked up.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

SERVICES = ("pypi", "osv")
CLEAN, FOUND, UNKNOWN = 0, 1, 2


def verdict(dependencies: Sequence[dict[str, Any]]) -> tuple[int, list[str]]:
    """Exit code and words for what pip-audit found of each dependency."""
    known = [one for one in dependencies if "vulns" in one]
    lines = [
        f"{one['name']} {one['version']}: {hole['id']}, fixed in "
        f"{', '.join(hole.get('fix_versions') or ['no version yet'])}"
        for one in known
        for hole in one["vulns"]
    ]
    missed = [one["name"] for one in dependencies if "vulns" not in one]
    if lines:
        return FOUND, lines
    if not known:
        return UNKNOWN, ["Nothing was checked: no package is known to any vulnerability service."]
    summary = [f"{len(known)} packages looked up: no known vulnerability."]
    if missed:
        return UNKNOWN, [*summary, f"Not looked up: {', '.join(sorted(missed))}"]
    return CLEAN, summary


def ask(service: str) -> list[dict[str, Any]]:
    """A service's answer for every installed package; empty where it cannot be asked."""
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off"]
    command += ["--format", "json", "--vulnerability-service", service, "--timeout", "15"]
    answer = subprocess.run(command, capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"{service}: cannot be asked: {reason}")
        return []
    own = "distribution marked as editable"  # ourselves
    return [one for one in found if one.get("skip_reason") != own]


def main() -> int:
    for service in SERVICES:
        code, lines = verdict(ask(service))
        print(f"{service}: " + f"\n{service}: ".join(lines))
        if code != UNKNOWN:
            return code
    print(
        "The floors in pyproject.toml are checked without any service: "
        "tests/project/test_dependencies.py."
    )
    return UNKNOWN


if __name__ == "__main__":
    sys.exit(main())
