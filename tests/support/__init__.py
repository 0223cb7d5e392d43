"""What several tests share: programs, stocks of files, a service with stand-ins at its edges."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent  # of the repository
