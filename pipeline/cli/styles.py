"""`styles`: the styles of the config, and the starter styles."""

from pipeline.cli.report_rows import Report
from pipeline.config.loading import Loaded
from pipeline.config.manifest import starter_styles
from pipeline.config.model import BUILTIN
from pipeline.system.text import visible


def styles_report(loaded: Loaded) -> Report:
    """The styles of the config, and the starter styles to choose from."""
    return {
        "starters": [f"{BUILTIN}{name}" for name in starter_styles()],
        "styles": [
            {
                "name": style.name,
                "images": [
                    {"origin": origin, "path": str(path), "weight": round(weight, 4)}
                    for origin, (path, weight) in zip(style.origins, style.images, strict=True)
                ],
                "transfer": style.transfer.model_dump(mode="json"),
            }
            for style in (loaded.manifest.styles.values() if loaded.found else ())
        ],
    }


def styles_text(report: Report) -> str:
    """The report for people."""
    lines = []
    for style in report["styles"]:
        images = style["images"]
        shares = [f"{image['origin']} ({image['weight']:.0%})" for image in images]
        origin = images[0]["origin"] if len(images) == 1 else ", ".join(shares)
        lines.append(f"{style['name']:20}{origin}")
    lines += ["", "starter styles, for config.yaml and for `stylize`:"]
    lines += [f"  {name}" for name in report["starters"]]
    return "\n".join(map(visible, lines))
