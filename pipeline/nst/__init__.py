"""Neural style transfer (Gatys, Ecker & Bethge 2015, 2016), usable alone.

    from pipeline.nst import stylize
    picture = stylize(content, [style])

Knows no folders, no config file, no database. Tensors are (3, H, W) sRGB in [0, 1].
"""

from pipeline.nst.stylize import Iterate, stylize
from pipeline.nst.vgg import Vgg19
from pipeline.nst.weights import load_weights

__all__ = ["Iterate", "Vgg19", "load_weights", "stylize"]
