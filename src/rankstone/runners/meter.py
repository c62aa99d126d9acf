"""Work that an encoder reports while it runs.

An encoder may be handed thousands of texts at once, so that it can sort them by length. It reports
each batch that it finished; whoever is interested, the harness above all, listens. Nobody needs to.
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
    """Tokens that a model saw, special tokens included, padding not."""
    flops: float = 0.0
    """Floating-point operations on these tokens by definition (a multiply-add is two), whatever
    the engine did in fact: padding is not among them."""

    def plus(self, other: Work) -> Work:
        return Work(self.texts + other.texts, self.tokens + other.tokens, self.flops + other.flops)


_listener: ContextVar[Callable[[Work], None] | None] = ContextVar("listener", default=None)


def report(work: Work) -> None:
    """Pass what was done since the last report to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(work)


@contextlib.contextmanager
def listening(listener: Callable[[Work], None]) -> Iterator[None]:
    """`listener` hears every report made inside the block, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def changing(change: Callable[[Work], Work]) -> Iterator[None]:
    """Reports made inside the block reach the listener outside as `change` makes them."""
    outside = _listener.get()
    with listening(lambda work: outside(change(work)) if outside is not None else None):
        yield
