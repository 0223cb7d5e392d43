"""The gallery over HTTP, with live progress and uploads into the inbox: `pipeline serve`."""

from pipeline.gallery.server.context import Site
from pipeline.gallery.server.server import GalleryServer

__all__ = ["GalleryServer", "Site"]
