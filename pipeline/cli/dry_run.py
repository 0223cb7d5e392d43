"""`run --dry-run`: what would be done and why, and how long it would take; nothing is written."""

import json
import sys
from collections import Counter

from pipeline.config.loading import Loaded
from pipeline.daemon.preview import _in_order, _plan
from pipeline.monitoring.estimate import Rates, estimate, work_of
from pipeline.system.text import visible


def dry_run(loaded: Loaded, as_json: bool, limit: int | None = None) -> int:
    """Print what would be done and why, one line per pair in the queue's order; write nothing.

    The estimate goes to stderr, so that there is one line per pair.
    """
    plan, files, replaced = _plan(loaded)
    due = _in_order([pair for pair in plan if pair.due], files, loaded)[:limit]
    for pair in (*due, *(pair for pair in plan if not pair.due)):
        if as_json:
            said = {"content": pair.content, "style": pair.style, "why": pair.why}
            print(json.dumps(said), flush=True)
        else:
            verb = "make" if pair.due else "skip"
            print(visible(f"{verb}  {pair.content}  {pair.style or '-'}  {pair.why}"))
    device = loaded.config.device
    devices = [device] if isinstance(device, str) else device
    works = Counter(work_of(pair.job.recipe.transfer) for pair in due if pair.job)
    found = estimate(works, Rates(loaded.config.state), devices, len(devices))
    print(found.words(), file=sys.stderr)
    if replaced.pictures:
        print(replaced.words(), file=sys.stderr)
    return 0
