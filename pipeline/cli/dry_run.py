"""`run --dry-run`: prints what a run would do, why, and how long it would take; writes nothing."""

import json
import sys
from collections import Counter
from typing import Any

from pipeline.cli.common import print_lines
from pipeline.cli.report_rows import region_row
from pipeline.config.loading import Loaded
from pipeline.daemon.preview import preview
from pipeline.inbox.mount_guard import worked_before
from pipeline.jobs.rates import Rates, rates_file, works_of
from pipeline.monitoring.estimate import estimate_work
from pipeline.system.paths import is_folder
from pipeline.system.text import visible


def print_dry_run(loaded: Loaded, as_json: bool, limit: int | None = None) -> int:
    """Print what a run would do and why, one line per pair, in the order of the queue.

    The estimate goes to stderr, so that stdout has exactly one line per pair.
    """
    inbox = loaded.config.inbox
    if not is_folder(inbox) and not worked_before(loaded.config):
        print(
            f"nothing to do: the inbox {inbox} does not exist yet; `run` creates it",
            file=sys.stderr,
        )
        return 0
    found = preview(loaded)
    due = found.due()[:limit]
    for pair in (*due, *(pair for pair in found.plan.pairs if not pair.due)):
        examined = pair.content not in found.unexamined
        if as_json:
            row: dict[str, Any] = {"content": pair.content, "style": pair.style, "why": pair.why}
            regions = [region_row(region) for region in pair.job.recipe.regions] if pair.job else []
            row |= {"examined": examined} | ({"regions": regions} if regions else {})
            print(json.dumps(row), flush=True)
        else:
            verb = "paint" if pair.due else "skip "
            why = pair.why + ("" if examined else ", not examined yet")
            names = ", ".join(region.name for region in pair.job.recipe.regions) if pair.job else ""
            line = f"{verb}  {pair.content}  {pair.style or '-'}  {why}"
            print_lines(visible(line + (f"  ({names})" if names else "")))
    device = loaded.config.device
    devices = [device] if isinstance(device, str) else device
    works = Counter(works_of(pair.job) for pair in due if pair.job)
    rates = Rates(rates_file())
    estimated = estimate_work(works, lambda work: rates.seconds(devices, work), len(devices))
    print(estimated.words(), file=sys.stderr)
    if found.replaced.pictures:
        print(found.replaced.words(), file=sys.stderr)
    if words := found.unwanted.words():
        print(words, file=sys.stderr)
    return 0
