"""Finds options that multiply each other, for `check` and `explain` to report."""

from collections.abc import Iterator

from pipeline.config.transfer import Transfer

# An option that multiplies another one, and that one.
PRODUCTS = (
    ("strength", "content_weight"),
    ("strength", "style_weight"),
    ("stroke", "style_scale"),
)


def find_products(transfer: Transfer) -> Iterator[str]:
    """Sentences on options that are both set and multiply each other."""
    default = Transfer()
    for one, other in PRODUCTS:
        if all(getattr(transfer, name) != getattr(default, name) for name in (one, other)):
            yield f"{one} and {other} are both set, and both count: set one of them to compare"
    if transfer.target is not None and transfer.strength != default.strength:
        yield "target and strength are both set: target decides, and strength has no effect"
