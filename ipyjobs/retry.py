"""How often a failed job is tried again, and when."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ipyjobs.errors import InvalidOption


@dataclass(frozen=True, slots=True)
class Retry:
    """A job that fails is tried again up to `times` times.

    Retry `n` starts ``delay_s * backoff ** (n - 1)`` seconds after the failure, at most `max_delay_s`, then moved by a
    random part of up to `jitter` of it either way, so that many jobs that failed together don't return together
    (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Parameters
    ----------
    times
        Retries after the first attempt; 0 means one attempt.
    delay_s
        Seconds before the first retry.
    backoff
        Factor from one delay to the next; 1 keeps it constant.
    max_delay_s
        Upper bound of the delay, seconds.
    jitter
        0 to 1: largest random part of the delay.

    Raises
    ------
    InvalidOption
        A value is negative or not a number, or `jitter` is above 1.
    """

    times: int = 0
    delay_s: float = 0.0
    backoff: float = 1.0
    max_delay_s: float = 3600.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if type(self.times) is not int or self.times < 0:
            raise InvalidOption("retries", self.times, "a whole number from 0")
        for option in ("delay_s", "backoff", "max_delay_s", "jitter"):
            value = getattr(self, option)
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InvalidOption(option, value, "a number from 0")
        if self.jitter > 1:
            raise InvalidOption("jitter", self.jitter, "a number from 0 to 1")

    def delay(self, number: int) -> float:
        """Seconds to wait before retry `number`, from 1."""
        try:
            grown = self.delay_s * self.backoff ** (number - 1)
        except OverflowError:
            grown = self.max_delay_s
        delay_s = min(self.max_delay_s, grown)
        return delay_s if not self.jitter else delay_s * (1 + self.jitter * random.uniform(-1, 1))


NEVER = Retry()
