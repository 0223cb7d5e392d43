"""`python -m benchmarks [NAME ...]`: measure, print the table, write docs/performance.md."""

import importlib
import platform
import sys
from datetime import date
from pathlib import Path

from pipeline.cli.wrong_python import incomplete, refuse

try:
    import torch
except ModuleNotFoundError as error:
    refuse(incomplete(error.name or "torch"))

from benchmarks.rows import Row

NAMES = ("engine", "quality", "startup", "reliability", "bulk", "gallery", "enhancement")
NAMES += ("trials", "scale")
PAGE = Path(__file__).parent.parent / "docs/performance.md"
MARK = "<!-- measured: everything below this line is written by `make bench` -->"


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all of them; the page keeps the sections of the others."""
    head, sections = _page()
    for name in names or [n for n in NAMES if importlib.util.find_spec(f"benchmarks.{n}")]:
        print(f"== {name}", flush=True)
        rows = [Row(*row) for row in importlib.import_module(f"benchmarks.{name}").report()]
        for row in rows:
            print(f"{row.name:58} {row.value:44} {row.target}", flush=True)
        sections[name.capitalize()] = _section(rows)
        text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections.items())
        PAGE.write_text(f"{head.rstrip()}\n\n{MARK}\n\n{text}\n")


def _page() -> tuple[str, dict[str, str]]:
    """The page's head, written by hand, and its measured sections by title."""
    text = PAGE.read_text() if PAGE.exists() else "# Performance\n"
    head, _, measured = text.partition(MARK)
    parts = [part.partition("\n") for part in measured.split("\n## ")[1:]]
    return head, {title: body.strip() for title, _, body in parts}


def _section(rows: list[Row]) -> str:
    lines = [f"Measured {date.today()} on {machine()}.", "", "| what | measured | aim |"]
    lines += ["|---|---|---|", *(f"| {row.name} | {row.value} | {row.target} |" for row in rows)]
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
