"""Finds options that multiply or override each other, for `check` and `explain` to report."""

from collections.abc import Iterator

from pipeline.config.transfer import LADDER, SIZED, Transfer, resolve_transfer

# An option that multiplies another one, and that one.
PRODUCTS = (
    ("strength", "content_weight"),
    ("strength", "style_weight"),
    ("stroke", "style_scale"),
)


def find_products(transfer: Transfer) -> Iterator[str]:
    """Sentences on options that are both set, and multiply or override each other."""
    default = Transfer()
    for one, other in PRODUCTS:
        if all(getattr(transfer, name) != getattr(default, name) for name in (one, other)):
            yield f"{one} and {other} are both set, and both count: set one of them to compare"
    if transfer.target is not None and transfer.strength != default.strength:
        yield "target and strength are both set: target decides, and strength has no effect"
    if transfer.within is not None:
        for name in _sized_by_hand(transfer):
            yield f"within and {name} are both set: within decides, and {name} has no effect"


def _sized_by_hand(transfer: Transfer) -> list[str]:
    """The options that `within` chooses and that no preset has set to what they are."""
    usual = [resolve_transfer(preset) for preset in LADDER]
    differing = [
        [name for name in SIZED if getattr(transfer, name) != getattr(preset, name)]
        for preset in usual
    ]
    return min(differing, key=len)
