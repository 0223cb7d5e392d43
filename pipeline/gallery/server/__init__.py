"""The gallery over HTTP, with what goes on now and a way into the inbox: `pipeline serve`."""

from pipeline.serving.server import GalleryServer, Wing

__all__ = ["GalleryServer", "Wing"]
