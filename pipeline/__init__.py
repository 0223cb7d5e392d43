"""A watch-folder studio for neural style transfer.

The library call is ``from pipeline.nst import stylize``; the program is ``python -m pipeline``.
"""

import sys

# `python -m pipeline` is starting: before anything else is loaded. `__main__` refuses old Pythons.
if sys.argv[:1] == ["-m"] and sys.version_info >= (3, 11):
    from pipeline.system.interpreter import leave_current_folder

    leave_current_folder()

import logging

__version__ = "0.1.0"

# Who uses the library decides where its log goes; unasked it goes nowhere.
logging.getLogger(__name__).addHandler(logging.NullHandler())
