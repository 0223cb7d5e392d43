"""`restore` and `prune`: report what was restored or removed, as JSON and for people."""

from collections.abc import Sequence

from pipeline.cli.report_rows import Report, format_size
from pipeline.daemon.paintings.prune import Prunable
from pipeline.daemon.restore import Restored
from pipeline.system.text import encodable, format_count, visible


def restore_report(done: Restored) -> Report:
    """What was restored, as plain data for JSON."""
    restored = [
        {"version": v.id, "content": encodable(v.content), "style": v.style} for v in done.versions
    ]
    return {"restored": restored, "by": done.by or None}


def restore_text(report: Report) -> str:
    """The report for people."""
    if not report["restored"]:
        return "there are no earlier versions"
    verb = "will be restored" if report["by"] else "restored"
    by = f" by {report['by']}" if report["by"] else ""
    lines = [
        f"{verb}{by}: {one['content']} x {one['style']}, version {one['version']}"
        for one in report["restored"]
    ]
    lines.append("`retry FILE` paints a picture again as configured")
    return "\n".join(map(visible, lines))


def prune_report(found: Sequence[Prunable], *, removed: bool, kept: bool) -> Report:
    """What `prune` removes or has removed, as plain data for JSON.

    Args:
        found: All pairs that no rule wants.
        removed: Whether it was done.
        kept: Whether the pictures become earlier versions.
    """
    going = [one for one in found if one.pictures and not one.changed]
    return {
        "removed": removed,
        "kept": kept,
        "pictures": len(going),
        "bytes": sum(one.bytes for one in going),
        "pairs": [
            {
                "content": encodable(one.pair.content),
                "style": one.pair.style,
                "closed": one.pair.closed,
                "bytes": one.bytes,
                "files": [encodable(output.path) for output in one.pictures],
            }
            for one in going
        ],
        "left": [
            {
                "content": encodable(one.pair.content),
                "style": one.pair.style,
                "changed": encodable(one.changed),
            }
            for one in found
            if one.changed
        ],
    }


def prune_text(report: Report) -> str:
    """The report for people."""
    verb = "removed" if report["removed"] else "no rule wants"
    lines = [_prune_line(verb, pair) for pair in report["pairs"]]
    lines += [
        f"left: {pair['content']} x {pair['style']}, because {pair['changed']} was changed"
        for pair in report["left"]
    ]
    count, size = format_count(report["pictures"], "picture"), format_size(report["bytes"])
    fate = "moved to outbox/.versions, for `restore`" if report["kept"] else "deleted"
    if not report["pictures"]:
        lines.append("nothing to prune")
    elif report["removed"]:
        lines.append(f"{count}, {size}: {fate}")
    else:
        which = "it" if report["pictures"] == 1 else "them"
        lines.append(f"{count}, {size}: `pipeline prune --yes` removes {which} ({fate})")
    return "\n".join(map(visible, lines))


def _prune_line(verb: str, pair: Report) -> str:
    gone = "; its photo has left the inbox" if pair["closed"] else ""
    size, files = format_size(pair["bytes"]), ", ".join(pair["files"])
    return f"{verb}: {pair['content']} x {pair['style']}  {size}  {files}{gone}"
