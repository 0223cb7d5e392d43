"""A watch-folder studio for neural style transfer.

``pipeline.paint("photo.jpg", "painting.jpg").save("painted.png")`` paints one picture from Python;
``from pipeline.nst import stylize`` does the same with tensors. The program is
``python -m pipeline``.
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipeline.errors import PipelineError as PipelineError
    from pipeline.render.paint import paint as paint


def __getattr__(name):  # type: ignore[no-untyped-def]  # any Python can read this file
    """Load what is asked for when it is asked for: ``--help`` does not need torch."""
    if name == "paint":
        from pipeline.render.paint import paint

        return paint
    if name == "PipelineError":
        from pipeline.errors import PipelineError

        return PipelineError
    raise AttributeError("module " + repr(__name__) + " has no attribute " + repr(name))
