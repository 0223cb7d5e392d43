"""`python -m benchmarks [NAME ...]`: measure, print the table, write docs/performance.md."""

import importlib
import platform
import sys
from datetime import date
from pathlib import Path

import torch

from benchmarks.rows import Row

NAMES = ("engine", "quality", "startup", "reliability", "gallery")
PAGE = Path(__file__).parent.parent / "docs/performance.md"
MARK = "<!-- measured: everything below this line is written by `make bench` -->"


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all of them."""
    tables = {}
    for name in names or [n for n in NAMES if importlib.util.find_spec(f"benchmarks.{n}")]:
        print(f"== {name}", flush=True)
        tables[name] = [Row(*row) for row in importlib.import_module(f"benchmarks.{name}").report()]
        for row in tables[name]:
            print(f"{row.name:58} {row.value:44} {row.target}", flush=True)
    if not names:
        PAGE.write_text(_page(tables))


def _page(tables: dict[str, list[Row]]) -> str:
    head = PAGE.read_text().partition(MARK)[0] if PAGE.exists() else "# Performance\n\n"
    lines = [f"{head.rstrip()}\n", MARK, "", f"Measured {date.today()} on {machine()}.", ""]
    for name, rows in tables.items():
        lines += [f"## {name.capitalize()}", "", "| what | measured | aim |", "|---|---|---|"]
        lines += [f"| {row.name} | {row.value} | {row.target} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def machine() -> str:
    """The machine in words."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    kind = torch.get_device_module(accelerator).get_device_name(0) if accelerator else "no GPU"
    return (
        f"{torch.get_num_threads()} cores {platform.machine()}, {kind}, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
