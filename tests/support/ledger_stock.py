"""What tests of the ledger share: a failed result, the only pair, a writer that is killed."""

from pipeline.errors import Failure, Reason
from pipeline.jobs.job import JobResult
from pipeline.ledger.ledger import Ledger

KILLED = """
import os, sys
from pathlib import Path
from support.stock import make_job
from pipeline.ledger.ledger import Ledger
Ledger(Path(sys.argv[1])).begin(make_job())
os.kill(os.getpid(), 9)
"""


def only(ledger: Ledger):
    (pair,) = ledger.pairs()
    return pair


def failed(job, code=Reason.OUT_OF_MEMORY) -> JobResult:
    return JobResult(job, "failed", 0.5, "cpu", error=Failure(code, "too large"))
