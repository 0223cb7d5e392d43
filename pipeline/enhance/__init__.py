"""Stylized picture -> enhanced picture, by an ordered chain of bounded steps; usable alone."""

from pipeline.enhance.chain import Enhanced, enhance
from pipeline.enhance.style_guard import StyleDistance
from pipeline.enhance.upscale import repaint_options

__all__ = ["Enhanced", "StyleDistance", "enhance", "repaint_options"]
