"""Repositories of the Hugging Face hub: information about them, and reasons of failures."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rankstone.errors import RankstoneError, require

COMMIT = re.compile(r"[0-9a-f]{40}")
ANSWER_S = 4.0
"""Time limit in seconds of a request for information about a repository."""
NOUNS = {"model": "model", "dataset": "data set"}
EXTRAS = {"model": "dense", "dataset": "beir"}


def is_offline() -> bool:
    """Return True if the hub is not to be asked, as its client reads the environment."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository as requested."""

    name: str
    """The name that the user wrote, for messages."""
    id: str
    """`OWNER/NAME`."""
    revision: str | None
    """Commit, branch or tag; None for the main branch."""
    kind: Literal["model", "dataset"]
    error: type[RankstoneError]
    """Class of the error if the repository cannot be obtained."""

    def info(self) -> Any:
        """Return the hub's information about the repository, within seconds."""
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE:
            raise self._absent("HF_HUB_OFFLINE is set")
        with self.explained():
            ask = HfApi(endpoint=constants.ENDPOINT).repo_info
            return ask(self.id, revision=self.revision, repo_type=self.kind, timeout=ANSWER_S)

    def require_client(self) -> None:
        require(f"'{self.name}'", EXTRAS[self.kind], "huggingface_hub")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Convert an exception of the hub's client into an `error` that states a remedy."""
        try:
            yield
        except Exception as error:  # from the client, or the HTTP library that it uses
            raise self._reason(error) from error

    def _reason(self, error: Exception) -> RankstoneError:
        from huggingface_hub import constants
        from huggingface_hub import errors as faults

        kinds = tuple(type(cause) for cause in causes(error))
        if any(issubclass(kind, faults.GatedRepoError) for kind in kinds):
            return self.gated()
        if any(issubclass(kind, faults.RevisionNotFoundError) for kind in kinds):
            return self.error(f"'{self.name}': the hub has no revision '{self.revision}' of it.")
        if any(issubclass(kind, faults.RepositoryNotFoundError) for kind in kinds):
            return self.error(
                f"'{self.name}': the hub has no such {NOUNS[self.kind]}, or it is private. Correct"
                " the name, or sign in: hf auth login"
            )
        answers = (c for c in causes(error) if isinstance(c, faults.HfHubHTTPError))
        if (answer := next(answers, None)) is not None:
            return self.error(f"'{self.name}': {_refused(answer, constants.ENDPOINT)}")
        reason = f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
        return self._absent("HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else reason)

    def gated(self) -> RankstoneError:
        """Return the error for a repository whose terms have not been accepted."""
        kind = "" if self.kind == "model" else f"{self.kind}s/"
        return self.error(
            f"'{self.name}' is gated. Accept its terms on https://huggingface.co/{kind}{self.id},"
            " then sign in: hf auth login (or set HF_TOKEN)"
        )

    def _absent(self, reason: str) -> RankstoneError:
        kind = "" if self.kind == "model" else f" --repo-type {self.kind}"
        revision = f" --revision {self.revision}" if self.revision else ""
        return self.error(
            f"'{self.name}' is not in the hub's cache, and {reason}."
            f" Fetch it once where there is a network: hf download {self.id}{kind}{revision}"
        )


def _refused(error: Any, endpoint: str) -> str:
    """Return the meaning of a response that does not concern the repository itself."""
    status = error.response.status_code
    if status == 401:
        return (
            "the hub refuses your token (401). Sign in again: hf auth login (or correct HF_TOKEN)"
        )
    return f"{endpoint} answers {status}. Try again later."


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, then its causes."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
