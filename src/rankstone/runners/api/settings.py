"""Parameters shared by all API adapters, and their requests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Annotated, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import ApiError, BudgetError, DefinitionError, RankstoneWarning, RefusedError
from rankstone.runners.api.answers import Answer
from rankstone.runners.api.budget import NOTHING, Amount, Purse, current
from rankstone.runners.api.client import Client
from rankstone.runners.api.lengths import Lengths, Positive, batches
from rankstone.runners.meter import Work, report
from rankstone.runners.protocols import STRICT, Json
from rankstone.specs.values import Variable

FACTS = (
    "root", "owned_by", "max_model_len", "model_id", "model_sha", "model_dtype",
    "max_input_length", "digest",
)  # fmt: skip
"""Model properties reported by servers that stay the same when a server restarts."""
ONE = ["warm up"]


class Request(NamedTuple):
    """Body of a request, and the texts in it that are billed."""

    body: dict[str, Any]
    texts: Sequence[str]
    n: int
    """Number of texts that the response covers."""
    most: int = 0
    """Most tokens that the server may generate."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ApiSettings(Lengths):
    """Base of adapters that call a server; they hold the name of the key's variable, not the key.

    Only `base_url`, `model_id`, the dimensions, prompts, fields and lengths can change a response:
    batch sizes, concurrency, timeout, retries and price are left out of the description.
    """

    requires: ClassVar[Mapping[str, str]] = {"httpx2": "api"}

    base_url: str
    """Base of the endpoint's URL, without its last part: `https://api.openai.com/v1`."""
    model_id: str
    """Name of the model on the server."""
    key_env: Variable = ""
    """Name of the environment variable that holds the key; empty if the server needs none."""
    batch_texts: Positive = 32
    """Texts per request; the default is the most that Text Embeddings Inference accepts."""
    batch_tokens: Positive = 8192
    """Tokens per request; a longer text is sent alone."""
    concurrency: Positive = 4
    """Concurrent requests."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds to wait for a response."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Retries after 429, 5xx, a timeout or a broken connection."""
    price: Annotated[float, Field(ge=0)] | None = None
    """US dollars per million input tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise DefinitionError(
                "key 'parameters.base_url': not an address. Write it as in http://localhost:8080/v1"
            )
        if url.username or url.password or url.query or url.fragment:
            raise DefinitionError(
                "key 'parameters.base_url': holds a user, a password or a query, which records"
                " would show. Put the key into an environment variable and name it: key_env."
            )

    def identity(self) -> dict[str, Json]:
        """Describe the model: as requested, and as its server reports it.

        Raises:
            ApiError: the server cannot be reached, or refuses.
        """
        return {
            "model": self.model_id,
            "revision": None,
            "url": self.base_url.rstrip("/"),
            "server": self._server,
            **self.described(),
        }

    def answers(
        self, path: str, requests: Sequence[Request], read: Callable[[Any, int, str], Answer]
    ) -> Iterator[Answer]:
        """Yield the responses in order, from concurrent requests; report their tokens.

        Raises:
            ApiError: as `Client.post` and `read`.
            BudgetError: the requests could exceed the budget.
        """
        purse = current()
        purse.expect([text for request in requests for text in request.texts], self.price)
        with ThreadPoolExecutor(self.concurrency) as pool:
            yield from pool.map(lambda one: self._answer(path, one, read, purse), requests)

    def batched(self, texts: Sequence[str], beside: int = 0) -> list[slice]:
        """Return batches of `texts` that fit into requests, with `beside` more tokens for each
        text."""
        sizes = [size + beside for size in self.sizes(texts)]
        return list(batches(sizes, texts=self.batch_texts, tokens=self.batch_tokens))

    def reported(self, answer: Answer) -> None:
        """Report the tokens of a response to the meter, in the thread that encodes."""
        tokens, usd = self.cost(answer)
        report(Work(len(answer.values), tokens, billed_tokens=tokens, usd=usd))

    def written(self, tokens: int) -> Amount:
        """Return the cost of generated tokens."""
        return Amount.of(tokens, None)

    def cost(self, answer: Answer) -> Amount:
        """Return the cost of a response, as counted by the server."""
        return Amount.of(answer.tokens or 0, self.price).plus(self.written(answer.written))

    def probe(self) -> Answer:
        """Return the response for one short text."""
        raise NotImplementedError

    def _answer(
        self, path: str, request: Request, read: Callable[[Any, int, str], Answer], purse: Purse
    ) -> Answer:
        """Send a request; a failed one is charged at its upper bound."""
        client, most = self._client, self.written(request.most)  # a missing key reserves nothing
        spent = reserved = purse.reserve(request.texts, self.price, most)
        where, body = f"{client.base_url}/{path}", {"model": self.model_id, **request.body}
        try:
            raw = client.post(path, body, lambda: purse.lose(reserved, request.texts))
            answer = read(raw, request.n, where)
            if answer.tokens is not None:
                spent = self.cost(answer)
        except (RefusedError, BudgetError):
            spent = NOTHING
            raise
        finally:
            purse.settle(reserved, request.texts, spent)
        if answer.tokens is None and self.price is not None:
            raise ApiError(
                f"{where}: the server does not count tokens ('usage'), so their price is not"
                " known. Remove parameters.price."
            )
        return answer

    @cached_property
    def _client(self) -> Client:
        return Client(
            self.base_url, key_env=self.key_env, timeout=self.timeout, retries=self.retries
        )

    @cached_property
    def _probed(self) -> Answer:
        """Return the response for a short text, and warn about the server, once per object."""
        answer = self.probe()
        limits = "" if self.max_characters or self.max_length else (
            " nor what it truncates of long texts (see max_characters)"
        )  # fmt: skip
        warnings.warn(
            f"{self.model_id} at {self.base_url}: the weights behind an API cannot be verified,"
            f"{limits} and may change under the same name.",
            RankstoneWarning,
            stacklevel=2,
        )
        return answer

    @cached_property
    def _server(self) -> dict[str, Json]:
        """Properties of the model reported by the server: in responses, in its list of models
        (OpenAI, vLLM, Ollama), and by the information endpoints of TEI and Ollama."""
        said: dict[str, Json] = {"model": self._probed.model}
        client, root = self._client, self._client.base_url.removesuffix("/v1")
        listed = client.stated(f"{client.base_url}/models").get("data")
        tags = client.stated(f"{root}/api/tags").get("models")
        for found in (
            _named(listed, "id", self.model_id),
            client.stated(f"{root}/info"),
            _named(tags, "name", self.model_id) or _named(tags, "name", f"{self.model_id}:latest"),
        ):
            said |= {key: found[key] for key in FACTS if isinstance(found.get(key), str | int)}
        return said


def _named(items: Any, key: str, name: str) -> dict[str, Any]:
    """Return the object in a list whose `key` is `name`; empty if there is none."""
    found = (item for item in items or () if isinstance(item, dict) and item.get(key) == name)
    return next(found, {}) if isinstance(items, list) else {}
