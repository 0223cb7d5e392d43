"""A watch-folder studio for neural style transfer.

The library call is ``from pipeline.nst import stylize``; the program is ``python -m pipeline``.
"""

__version__ = "0.1.0"
