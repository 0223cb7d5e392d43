"""How a Ray cluster is reached and used."""

from typing import Annotated

from pydantic import Field

from pipeline.config.base import Options


class Cluster(Options):
    """The cluster of ``engine: ray``."""

    address: Annotated[
        str,
        Field(pattern=r"^(auto|local|(ray://)?[\w.-]+:\d{1,5}|(ray://)?\[[0-9a-f:]+\]:\d{1,5})$"),
    ] = Field(
        "auto",
        description="auto: the cluster that this machine belongs to; local: one of this machine's "
        "own, for as long as the run; HOST:PORT or ray://HOST:PORT: another one.",
    )
    connect_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30.0, description="An address that has not answered after so long is an error."
    )
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = Field(
        None,
        description="CPUs declared for each worker. Absent: 1 beside a GPU, else all of a node.",
    )
    gpus: Annotated[float, Field(ge=0, le=8)] | None = Field(
        None,
        description="GPUs declared for each worker; 0.5: two share one. Absent: 1 where any node "
        "has one, else 0.",
    )
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="At most so many workers. Absent: as many as the cluster has room for."
    )
