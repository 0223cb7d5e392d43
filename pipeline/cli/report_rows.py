"""What `status` and `explain` share: pairs, failures and quarantined files as report rows."""

from dataclasses import asdict
from typing import Any

from pipeline.config.loading import Loaded
from pipeline.inbox.quarantine import QuarantinedPhoto
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.ledger.records import Pair
from pipeline.system.text import encodable, format_duration

Report = dict[str, Any]


def _ledger(loaded: Loaded) -> Ledger:
    return Ledger(loaded.config.state / FILE, read_only=True)


def _pair(pair: Pair) -> Report:
    return {
        "job": pair.job,
        "content": encodable(pair.content),
        "style": pair.style,
        "state": pair.state.value,
        "attempt": pair.attempt,
        "recipe": pair.recipe,
        "seconds": round(pair.seconds, 3),
        "device": pair.device,
        "outputs": [asdict(output) | {"path": encodable(output.path)} for output in pair.outputs],
        "losses": dict(pair.losses),
        "error": _failure(pair.failure),
        "updated": pair.updated,
        "closed": pair.closed,
    }


def _held(one: QuarantinedPhoto) -> Report:
    error = {"code": one.code, "message": encodable(one.message)} if one.code else None
    return {"content": encodable(one.content), "path": encodable(str(one.path)), "error": error}


def _held_line(file: Report) -> str:
    error = file["error"]
    return f"{file['path']}" + (f"  {error['code']}: {error['message']}" if error else "")


def _failure(failure: Any) -> Report | None:
    return {"code": failure.code, "message": encodable(failure.message)} if failure else None


def _pair_line(pair: Report) -> str:
    head = f"{pair['job']}  {pair['state']:8}{pair['content']} x {pair['style']}"
    if pair["error"]:
        return f"{head}  {pair['error']['code']}: {pair['error']['message']}"
    if progress := pair.get("progress"):
        left = (
            f", {format_duration(progress['seconds_left'])} left"
            if "seconds_left" in progress
            else ""
        )
        return f"{head}  {progress.get('fraction', 0):.0%} on {progress['device']}{left}"
    if pair["state"] == "running":
        return head.rstrip()  # at hand for later
    outputs = ", ".join(output["path"] for output in pair["outputs"])
    gone = "  (its photo has left the inbox; these pictures stay)" if pair["closed"] else ""
    return f"{head}  {pair['seconds']:.0f} s  {outputs}{gone}".rstrip()
