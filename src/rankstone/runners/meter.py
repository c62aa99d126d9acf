"""Work reported by an encoder while it runs.

An encoder may receive thousands of texts at once, so that it can sort them by length. It reports
each completed batch to a listener, usually the harness, if there is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple


class Work(NamedTuple):
    """Work done; additive."""

    texts: int = 0
    tokens: int = 0
    """Tokens processed by a model, with special tokens, without padding."""
    flops: float = 0.0
    """Nominal floating-point operations on these tokens, without padding; a multiply-add counts as
    two."""
    billed_tokens: int = 0
    """Tokens counted by an API server."""
    usd: float = 0.0
    """Their price in US dollars."""

    def plus(self, other: Work) -> Work:
        return Work(
            self.texts + other.texts,
            self.tokens + other.tokens,
            self.flops + other.flops,
            self.billed_tokens + other.billed_tokens,
            self.usd + other.usd,
        )


_listener: ContextVar[Callable[[Work], None] | None] = ContextVar("listener", default=None)


def report(work: Work) -> None:
    """Pass the work since the last report to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(work)


@contextlib.contextmanager
def listening(listener: Callable[[Work], None]) -> Iterator[None]:
    """Call `listener` with every report made inside the block, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def changing(change: Callable[[Work], Work]) -> Iterator[None]:
    """Apply `change` to reports made inside the block before they reach the outer listener."""
    outside = _listener.get()
    with listening(lambda work: outside(change(work)) if outside is not None else None):
        yield
