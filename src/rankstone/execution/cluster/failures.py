"""Errors that cross machines: those of methods, and those of Ray with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from rankstone.errors import ClusterError
from rankstone.execution.events import ElsewhereError, described
from rankstone.execution.process import Outcome, error_info
from rankstone.results.record import Status

Result = TypeVar("Result")


class Failed(NamedTuple):
    """An error in an actor."""

    kind: str
    message: str
    traceback: str | None


class PassedError(Exception):
    """A cell exceeded a limit while its documents were encoded."""

    def __init__(self, status: Status, kind: str, message: str) -> None:
        super().__init__(message)
        self.outcome = Outcome(status=status, error=error_info(kind, message))


def attempted(work: Callable[[], Result]) -> Result | Failed:
    """Return the result of `work`, or a picklable description of the error that it raised."""
    try:
        return work()
    except BaseException as error:  # includes SystemExit, and panics of Rust libraries
        return Failed(*described(error))


def checked(result: Result | Failed) -> Result:
    """Return a result; raise ElsewhereError if it is an error."""
    if isinstance(result, Failed):
        raise ElsewhereError(*result)
    return result


def is_loss(error: BaseException) -> bool:
    """Return True if a worker or a node was lost, so that another one can repeat its work."""
    from ray import exceptions

    lost = (
        exceptions.ActorUnschedulableError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
        exceptions.RayActorError,
        exceptions.TaskUnschedulableError,
        exceptions.WorkerCrashedError,
    )
    return isinstance(error, lost)


def mended(error: BaseException, node: str = "a node") -> BaseException:
    """Return a ClusterError with a remedy for a Ray error; other errors unchanged."""
    from ray import exceptions

    full: tuple[Any, ...] = (exceptions.ObjectStoreFullError, exceptions.OutOfDiskError)
    cause = getattr(error, "cause", None) or error  # set for an error in an actor
    if isinstance(cause, full):
        return ClusterError(
            f"the object store of {node} is full, and so is the disk that it spills to"
            f" ({first_line(cause)}). Free space in /tmp/ray there, or give it more:"
            " ray stop; ray start --address HEAD:6379 --object-store-memory BYTES"
        )
    if isinstance(error, exceptions.RayError):
        message = f"{type(cause).__name__} on {node}: {first_line(cause)}"
        return ClusterError(f"{message} Look at: ray status")
    return error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]
