"""Budget of a run: the tokens or money that API requests may cost.

A request is sent only if its upper bound fits into the remaining budget, which is therefore never
exceeded. Before a series of requests, an estimate for all of them must fit too, because paid
answers are lost if their shard stays incomplete.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rankstone.errors import BudgetError

SPENT = "spent.json"
"""File in which a cell's process writes its spending."""
MARGIN = 1.1
"""Ratio of the estimate for many texts to the tokens per byte of the texts so far."""
TOKENS_PER_BYTE, PRIOR_BYTES = 0.3, 10_000
"""Prior of tokens per byte (about that of English), and its weight in bytes of answered texts."""
PER_TEXT = 16
"""Tokens that a server may add to a text, such as special tokens and a prefix."""


class Amount(NamedTuple):
    """Tokens, and their price in US dollars."""

    tokens: int = 0
    usd: float = 0.0

    @classmethod
    def of(cls, tokens: int, price: float | None) -> Amount:
        """Return the amount for `tokens` at `price` dollars per million."""
        return cls(tokens, tokens * (price or 0.0) / 1e6)

    def plus(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.usd + other.usd)

    def __str__(self) -> str:
        money = f" (${self.usd:.6g})" if self.usd else ""
        return f"{self.tokens:,} tokens{money}"

    def minus(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.usd - other.usd)


class Limit(NamedTuple):
    """Upper bounds; None means no bound."""

    tokens: int | None = None
    usd: float | None = None

    def less(self, spent: Amount) -> Limit:
        return Limit(
            None if self.tokens is None else max(self.tokens - spent.tokens, 0),
            None if self.usd is None else max(self.usd - spent.usd, 0.0),
        )

    def holds(self, amount: Amount) -> bool:
        within_tokens = self.tokens is None or amount.tokens <= self.tokens
        return within_tokens and (self.usd is None or amount.usd <= self.usd)


NOTHING, UNLIMITED = Amount(), Limit()


def bound(texts: Sequence[str]) -> int:
    """Return an upper bound of the tokens of `texts`: tokenizers make at most one per byte."""
    return sum(len(text.encode("utf-8", "replace")) + PER_TEXT for text in texts)


@dataclass
class Purse:
    """Spending under a limit; thread-safe."""

    limit: Limit = UNLIMITED
    ledger: Path | None = None
    """File kept up to date with the spending, including the bound of requests in flight."""
    spent: Amount = NOTHING
    _reserved: Amount = field(default=NOTHING, init=False)
    _seen: tuple[int, int] = field(default=(0, 0), init=False)
    """Tokens and bytes of the texts answered so far."""
    _changed: threading.Condition = field(
        default_factory=threading.Condition, init=False, repr=False
    )

    @property
    def left(self) -> Limit:
        return self.limit.less(self.spent)

    def expect(self, texts: Sequence[str], price: float | None) -> None:
        """Raise BudgetError if `texts` will probably cost more than is left."""
        if self.limit.usd is not None and price is None:
            raise BudgetError(
                "A budget of money needs the price of a method's tokens: state parameters.price,"
                " US dollars per million input tokens, or give --budget in tokens."
            )
        tokens, size = self._seen
        rate = (tokens + TOKENS_PER_BYTE * PRIOR_BYTES) / (size + PRIOR_BYTES)
        expected = int(rate * MARGIN * sum(len(text.encode("utf-8", "replace")) for text in texts))
        self._check(Amount.of(expected, price), f"the next {len(texts):,} texts take about")

    def reserve(
        self, texts: Sequence[str], price: float | None, answer: Amount = NOTHING
    ) -> Amount:
        """Reserve the upper bound of a request; BudgetError if it exceeds the remaining budget.

        Waits for requests in flight if the bound fits only after they are settled.

        Args:
            answer: upper bound of the generated tokens and their price.
        """
        amount = Amount.of(bound(texts), price).plus(answer)
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved.tokens or self._holds(amount))
            self._check(amount, f"the next request of {len(texts):,} texts takes at most")
            self._reserved = self._reserved.plus(amount)
            self._write()
        return amount

    def settle(self, reserved: Amount, texts: Sequence[str], cost: Amount) -> None:
        """Replace the reservation of an answered request by its actual cost."""
        with self._changed:
            self._reserved = self._reserved.minus(reserved)
            self.spent = self.spent.plus(cost)
            size = sum(len(text.encode("utf-8", "replace")) for text in texts)
            self._seen = self._seen[0] + cost.tokens, self._seen[1] + size
            self._write()
            self._changed.notify_all()

    def lose(self, reserved: Amount, texts: Sequence[str]) -> None:
        """Count an unanswered request as spent; BudgetError if there is no budget to repeat it."""
        with self._changed:
            self.spent = self.spent.plus(reserved)
            self._write()
            if not self._holds(NOTHING):
                raise self._error(reserved, f"repeating a request of {len(texts):,} texts takes")

    def take_over(self, folder: Path) -> None:
        """Add the spending that another process, such as a cell's, wrote to `folder`."""
        with contextlib.suppress(FileNotFoundError):
            self.spent = self.spent.plus(Amount(*json.loads((folder / SPENT).read_bytes())))
            self._write()

    def _holds(self, amount: Amount) -> bool:
        return self.limit.holds(self.spent.plus(self._reserved).plus(amount))

    def _check(self, amount: Amount, noun: str) -> None:
        if not self._holds(amount):
            raise self._error(amount, noun)

    def _error(self, amount: Amount, noun: str) -> BudgetError:
        return BudgetError(
            f"--budget: {self.spent} are spent, and {noun} {amount}, more than is left."
            " Finished shards are kept; run again with a larger --budget to go on."
        )

    def _write(self) -> None:
        if self.ledger is not None:
            temporary = self.ledger.with_suffix(".new")  # keeps the old file if killed
            temporary.write_text(json.dumps(self.spent.plus(self._reserved)))
            temporary.replace(self.ledger)


_purse: ContextVar[Purse | None] = ContextVar("purse", default=None)


def current() -> Purse:
    """Return this run's purse, or an unlimited one."""
    return _purse.get() or Purse()


@contextlib.contextmanager
def paying(purse: Purse) -> Iterator[None]:
    """Charge requests made by this thread inside the block to `purse`."""
    token = _purse.set(purse)
    try:
        yield
    finally:
        _purse.reset(token)
