"""How a Ray cluster is reached and used."""

from pipeline.options import Options


class Cluster(Options):
    """The cluster of ``engine: ray``."""
