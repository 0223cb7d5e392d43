"""Cron times and hours of work -> pure functions of a given moment."""

from pipeline.options import Options


class Schedule(Options):
    """When work is done."""
