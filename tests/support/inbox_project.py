"""A project whose failed photos go into quarantine."""

from pathlib import Path

from pipeline.config.loading import load
from pipeline.errors import Reason
from support.studio import CONFIG, Studio

QUARANTINE = CONFIG + "failed: quarantine\n"


def loaded(studio: Studio):
    return load(studio.root / "config.yaml")


def put_aside(studio: Studio) -> Path:
    """A photo that failed for good; returns where it lies."""
    studio.put("sub/a.png")
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    assert not (studio.inbox / "sub/a.png").exists()
    return studio.root / "quarantine/sub/a.png"
