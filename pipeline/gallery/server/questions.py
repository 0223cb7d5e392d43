"""The question which of two pictures is better, as pages show it: it is open until one answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True)
class Question:
    """One round: two pictures, as PNG, and the words that may answer it."""

    round: int
    rounds: int
    pictures: Sequence[bytes]
    answers: Sequence[str]
    seconds: float = 0.0  # that the pair took


class OpenQuestion:
    """The question that a page shows now, if there is one; for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._question: Question | None = None

    def show(self, question: Question | None) -> None:
        """Show another question."""
        with self._lock:
            self._question = question

    def take(self, round_: int, word: str) -> bool:
        """Close the question with an answer; False where it answers nothing that is open."""
        with self._lock:
            asked = self._question
            if asked is None or asked.round != round_ or word not in asked.answers:
                return False
            self._question = None
        return True

    def picture(self, round_: int, number: int) -> bytes | None:
        """A picture of the open question, numbered from 1."""
        with self._lock:
            asked = self._question
        if asked is None or asked.round != round_ or not 1 <= number <= len(asked.pictures):
            return None
        return asked.pictures[number - 1]

    def state(self) -> Mapping[str, object]:
        """Its round, of how many; round 0 where no question is open."""
        with self._lock:
            asked = self._question
        return {"round": asked.round, "rounds": asked.rounds} if asked else {"round": 0}
