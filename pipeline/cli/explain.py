"""`explain` of a file in the inbox: why it was, will be or will not be processed."""

import os
import time
from pathlib import Path

from pipeline.cli.report_rows import (
    Report,
    failure_row,
    open_ledger,
    options_line,
    options_row,
    pair_line,
    pair_row,
    quarantine_line,
    quarantine_row,
    region_line,
    region_row,
    version_line,
    version_row,
)
from pipeline.config.checks.options import find_products
from pipeline.config.loading import Loaded
from pipeline.config.manifest import Manifest
from pipeline.config.output import format_of
from pipeline.config.regions.mask_files import MAP
from pipeline.daemon.preview import Preview, preview
from pipeline.errors import UsageError
from pipeline.inbox.quarantine import quarantined_photos
from pipeline.inbox.scanner import Inbox
from pipeline.inbox.tree import content_of
from pipeline.jobs.job import JobState
from pipeline.jobs.recipe import Recipe
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.system import interrupt
from pipeline.system.near_names import nearest_name, nearest_path
from pipeline.system.paths import is_folder, is_web_address, why_web_address
from pipeline.system.text import encodable, visible


def explain_report(loaded: Loaded, file: Path) -> Report:
    """Everything that decides whether one file is processed. Reads no other file of the inbox.

    Raises:
        UsageError: The file lies outside the inbox, or is not there and was never seen.
    """
    if is_web_address(str(file)):
        what, hint = why_web_address(str(file))
        raise UsageError(what, where=str(file).replace(":/", "://", 1), hint=hint)
    if is_folder(file):
        raise UsageError("is a folder", where=str(file), hint="name a file in it")
    config = loaded.config
    content = content_of(config.inbox, file)
    with open_ledger(loaded) as ledger:
        pairs = [
            pair_row(pair, ledger)
            | {"deleted": _find_deleted(config.outbox, pair), "notes": _find_notes(ledger, pair)}
            for pair in ledger.pairs(content=content)
        ]
        sighting = ledger.files.find(content)
        aside = quarantined_photos(config.quarantine, ledger)
        quarantined = [kept for kept in aside if kept.content == content]
        versions = [version_row(config.outbox, v) for v in ledger.history.earlier(content)]
    there = os.path.lexists(config.inbox / content)
    inbox = Inbox(config.inbox, config.watch.settle_seconds, config.watch.ignore)
    scan = inbox.scan(time.monotonic(), time.time())
    styles = [style.name for style in loaded.manifest.styles_for(content)]
    found = preview(loaded, only=content)
    plan = [pair for pair in found.plan.pairs if pair.content == content]
    # A refusal of now comes first. An earlier one counts only when nothing is planned.
    refusals = (*scan.refused, *found.refused, *found.plan.refused)
    refusal = next((r for r in refusals if r.content == content), None)
    earlier = sighting.failure if sighting and not plan else None
    failure = refusal.failure if refusal else earlier
    if not (there or pairs or sighting or versions or quarantined):
        raise UsageError("no such file", where=str(file), hint=_hint(config.inbox, content))
    return {
        "content": encodable(content),
        "there": there,
        "still": any(found.content == content for found in scan.settled),
        "refused": failure_row(failure),
        "quarantine": [quarantine_row(kept) for kept in quarantined],
        "styles": styles,
        "pairs": pairs,
        "versions": versions,
        "plan": [
            {
                "style": p.style,
                "why": p.why,
                "will_be_made": p.due,
                "same_as": encodable(p.same_as),
                "examined": p.content not in found.unexamined,
                **_recipe_row(found.recipes.get(p.style), config.preset),
            }
            for p in plan
        ],
        "unused_masks": _find_unused_masks(loaded.manifest, content, found),
    }


def explain_text(report: Report) -> str:
    """The report for people."""
    lines = [report["content"]]
    if not report["there"]:
        lines.append("  is no longer in the inbox")
    lines += [f"  in quarantine: {quarantine_line(file)}; `retry`" for file in report["quarantine"]]
    if report["refused"]:
        lines.append(f"  not taken: {report['refused']['code']}: {report['refused']['message']}")
    elif report["there"] and not report["still"]:
        lines.append("  still changing: it is taken once it has not changed for a moment")
    if not report["styles"]:
        lines.append("  no match rule gives it a style, so it is not painted")
    elif not report["plan"] and not report["refused"]:
        lines.append(f"  styles by the match rules: {', '.join(report['styles'])}")
    for pair in report["plan"]:
        lines += [_plan_line(pair)] if pair["style"] else []
        lines += [f"    {options_line(pair['options'])}"] if pair["options"] else []
        lines += [f"    {note}" for note in pair["products"]]
        lines += [f"    {region_line(region)}" for region in pair["regions"]]
    lines += [f"  {mask['file']} has no effect: {mask['why']}" for mask in report["unused_masks"]]
    lines += [f"  {pair_line(pair)}" for pair in report["pairs"]]
    notes = {note: None for pair in report["pairs"] for note in pair["notes"]}
    lines += [f"  note: {note}" for note in notes]
    for pair in report["pairs"]:
        if pair["deleted"]:
            lines.append(
                f"  deleted from the outbox: {', '.join(pair['deleted'])}; "
                f"`retry {pair['job']}` paints it again"
            )
    if report["versions"]:
        lines += ["", "  earlier versions (`restore VERSION` brings one back):"]
        lines += [f"  {version_line(version)}" for version in report["versions"]]
    return "\n".join(map(visible, lines))


def write_layers(
    photo: Path, painting: str | None, out: Path | None, device: str, force: bool = False
) -> Report:
    """Write the sheet of what each layer keeps; its name is free, or this program's own file.

    Raises:
        UsageError: A picture is not found, or the sheet must not be written there.
    """
    from pipeline.cli.order import find_picture  # imports torch, which `explain` need not load
    from pipeline.render.layer_sheet import draw_layers
    from pipeline.render.output_files import check_target
    from pipeline.render.single import check_out

    content = find_picture(str(photo), "PHOTO")
    style = find_picture(painting, "PAINTING") if painting else None
    place = out or Path(f"{photo.stem}-layers.png")
    check_out(place)
    if format_of(place.name) != "png":
        raise UsageError("the sheet is a PNG", where="-o", hint=f"name it {place.stem}.png")
    inputs = [path for path in (content, style) if path is not None]
    target = check_target(place, inputs, force=force)
    draw_layers(content, style, target, device, lambda _: interrupt.raise_swallowed())
    return {"layers": encodable(str(place))}


def _recipe_row(recipe: Recipe | None, preset: str) -> Report:
    """What one style paints differently from the preset."""
    if recipe is None:
        return {"options": {}, "products": [], "regions": []}
    return {
        "options": options_row(recipe.transfer, preset),
        "products": [*find_products(recipe.transfer)],
        "regions": [region_row(region) for region in recipe.regions],
    }


def _find_unused_masks(manifest: Manifest, content: str, found: Preview) -> list[Report]:
    """Mask files beside a photo that none of its styles uses, and why."""
    regions = [region for recipe in found.recipes.values() for region in recipe.regions]
    used = {region.name for region in regions}
    named = {name for style in manifest.styles_for(content) for name in style.regions}
    rows = []
    for name in sorted(found.masks - used - {MAP}) if found.recipes else ():
        near = nearest_name(name, named | used)
        hint = f"did you mean {near!r}?" if near else f"add regions: {{{name}: {{strength: 0.3}}}}"
        file = encodable(f"{content}.mask.{name}.png")
        rows.append({"file": file, "why": f"no option is set for region {name!r}; {hint}"})
    return rows


def _hint(inbox: Path, content: str) -> str:
    """The file of the inbox that was probably meant, or which files can be named."""
    near = nearest_path(inbox / content)
    if near is None:
        return "name a file in the inbox, or a finished picture"
    return f"did you mean {encodable(near.relative_to(inbox).as_posix())!r}?"


def _plan_line(pair: Report) -> str:
    if pair["why"] == "style waits":
        return f"  {pair['style']}: waits until its painting and its weights can be read"
    verb = "will be painted" if pair["will_be_made"] else "not painted again"
    same = f", the same photo as {pair['same_as']}" if pair["same_as"] else ""
    same += "" if pair["examined"] else "; not examined yet, so it may be damaged"
    hint = {
        "failed before": "; `retry` tries again",
        "draft deleted": ", someone deleted its draft; `retry JOB` paints it in full",
        "restored": ", an earlier version was restored; `retry FILE` paints it as configured",
    }.get(pair["why"], "")
    return f"  {pair['style']}: {verb}: {pair['why']}{same}{hint}"


def _find_notes(ledger: Ledger, pair: Pair) -> list[str]:
    """Find what was noted while the photo of a finished pair was read."""
    version = ledger.history.current(pair.content, pair.style)
    made = version is not None and pair.state is JobState.DONE and version.job == pair.job
    return [encodable(note) for note in version.notes] if version and made else []


def _find_deleted(outbox: Path, pair: Pair) -> list[str]:
    """Find the pictures of a finished pair that someone deleted from the outbox."""
    gone = [o.path for o in pair.outputs if not os.path.lexists(outbox / o.path)]
    return [encodable(path) for path in gone] if pair.state is JobState.DONE else []
