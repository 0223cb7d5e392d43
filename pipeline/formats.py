"""The files that pictures become: format, quality, depth, colour space, metadata."""

from pipeline.options import Options


class OutputFormat(Options):
    """What a finished picture is written as."""
