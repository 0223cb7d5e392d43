"""`restore`: reports which earlier versions were restored, as JSON and for people."""

from pipeline.cli.report_rows import Report
from pipeline.daemon.restore import Restored
from pipeline.system.text import encodable, visible


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
