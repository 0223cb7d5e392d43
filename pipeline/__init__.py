"""A watch-folder studio for neural style transfer.

The library call is ``from pipeline.nst import stylize``; the program is ``python -m pipeline``.
"""

import logging

__version__ = "0.1.0"

# Who uses the library decides where its log goes; unasked it goes nowhere.
logging.getLogger(__name__).addHandler(logging.NullHandler())
