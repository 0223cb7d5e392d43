"""The gallery over HTTP, with what goes on now and a way into the inbox: `pipeline serve`."""

from pipeline.gallery.server.context import Site
from pipeline.gallery.server.server import GalleryServer

__all__ = ["GalleryServer", "Site"]
