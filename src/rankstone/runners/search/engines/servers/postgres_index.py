"""PostgreSQL with pgvector: HNSW graph, IVF, or sequential scan."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import ArrayLike
from pydantic.dataclasses import dataclass

from rankstone.errors import EngineError, UnreachableError
from rankstone.predicates import Predicate, Where, kind_of
from rankstone.runners.protocols import STRICT
from rankstone.runners.search.engines.engine import (
    FilteringIndex,
    numbered,
    one_by_one,
    sql,
    values,
)
from rankstone.runners.search.engines.folder import fresh
from rankstone.runners.search.engines.servers import postgres_server
from rankstone.runners.search.engines.servers.own_process import OwnProcess
from rankstone.runners.search.engines.servers.removal import at_end, removed_at_end
from rankstone.runners.search.engines.servers.server import (
    ChangingCollection,
    ChangingServerIndex,
    GraphOrLists,
    address,
    no_address,
    refuse_existing,
)
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import Positions
from rankstone.runners.search.faiss.inverted_lists import n_lists_for

CONNECT_S = 10
LOCKED = "30s"
DEEPEST = 1000
"""Largest `ef_search` of pgvector; for more results it scans the graph iteratively."""
EXAMPLE = "postgresql://user:password@localhost:5432/database"
TYPES = {bool: "boolean", int: "bigint", float: "double precision", str: "text"}
"""Column type by the type of the values."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Postgres(GraphOrLists):
    """Float32 vectors in a PostgreSQL table with a pgvector index.

    Without `url_env`, the cell starts a local server. Indexes are built with random numbers and
    differ between runs. Ties: see `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "table of vectors, inner product, PostgreSQL"
    requires: ClassVar[Mapping[str, str]] = {"psycopg": "engines"}

    def version(self) -> str:
        if not self.url_env:
            return postgres_server.version()
        with connected(given(self.url_env), variable=self.url_env) as connection:
            server = _one(connection, "SHOW server_version")
            return f"PostgreSQL {server}, pgvector {_extension(connection)}"


class Table(ChangingCollection):
    """A table of positions and vectors; each thread has its own connection."""

    def open(self, work: Path) -> None:
        about = self.about
        self._threads = threading.local()
        self._own: OwnProcess | None = None
        if about["url_env"]:
            self._dsn = given(about["url_env"])
        else:
            self._own, self._dsn = postgres_server.started(fresh(work, "postgres"))
        try:
            self._fill(work)
        except EngineError as error:
            raise EngineError(f"{error}{self._last_words()}") from None

    def _fill(self, work: Path) -> None:
        with connected(self._dsn, self.name) as connection:
            if self._own:
                connection.execute("CREATE EXTENSION vector")
            _extension(connection)
            with connection.transaction():
                self._write(connection)
                if not self._own:
                    removed_at_end(self, work, drop, self.about["url_env"], self.name)
            connection.execute(f"ANALYZE {self.name}")
            if self._own:
                connection.execute("CHECKPOINT")

    def _write(self, connection: Any) -> None:
        """Create and fill the table, and create its indexes; EngineError if its name exists."""
        existing = _one(connection, f"SELECT to_regclass('{self.name}')")
        refuse_existing(existing, self.name, "PostgreSQL")
        kinds = {own(name): TYPES[kind_of(column)] for name, column in self.columns.items()}
        columns = "".join(f", {name} {kind}" for name, kind in kinds.items())
        dim = self.about["dim"]
        connection.execute(
            f"CREATE TABLE {self.name} (position bigint PRIMARY KEY, vector vector({dim}){columns})"
        )
        _send_vectors(connection)
        for positions, block in numbered(self.vectors):
            rows = values(self.columns, positions)
            self._copy(connection, positions, block, list(kinds.values()), rows)
        for name in kinds:
            connection.execute(f"CREATE INDEX ON {self.name} ({name})")
        if method := self._method():
            on, options = method
            connection.execute(
                f"CREATE INDEX ON {self.name} USING {on} (vector vector_ip_ops) WITH ({options})"
            )

    def _copy(
        self,
        connection: Any,
        keys: Positions,
        vectors: Vectors,
        types: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Append rows to the table, with the values of their columns."""
        columns = list(self.columns) if types else []
        named = ", ".join(["position", "vector", *map(own, columns)])
        command = f"COPY {self.name} ({named}) FROM STDIN WITH (FORMAT BINARY)"
        sent = ["int8", _oid(connection), *types]
        with connection.cursor().copy(command) as copy:
            copy.set_types(sent)
            for key, vector, row in zip(keys.tolist(), vectors, rows, strict=True):
                copy.write_row((key, Vector(vector), *map(row.get, columns)))

    def add(self, keys: Positions, vectors: Vectors) -> None:
        with self._explained():
            self._copy(self._of_thread(), keys, vectors, [], [{}] * len(keys))

    def remove(self, keys: Positions) -> None:
        with self._explained():
            self._of_thread().execute(
                f"DELETE FROM {self.name} WHERE position = ANY(%s)", [keys.tolist()]
            )

    def compact(self) -> None:
        with connected(self._dsn, self.name) as connection:  # without the timeout of queries
            connection.execute(f"VACUUM {self.name}")

    def _method(self) -> tuple[str, str] | None:
        about = self.about
        if about["exact"]:
            return None
        if about["kind"] == "ivfflat":
            return "ivfflat", f"lists = {n_lists_for(about['n_lists'], about['rows'])}"
        return "hnsw", f"m = {about['m']}, ef_construction = {about['ef_construction']}"

    def ask(
        self, query: Vectors, k: int, where: Predicate | None = None
    ) -> tuple[ArrayLike, ArrayLike]:
        among = f" WHERE {sql(where, own)}".replace("%", "%%") if where else ""
        with self._explained():
            found = self._searching(k, filtered=where is not None).execute(
                f"SELECT position, vector <#> %(query)s AS distance FROM {self.name}{among}"
                " ORDER BY distance LIMIT %(k)s",
                {"query": Vector(query), "k": k}, prepare=True, binary=True,
            ).fetchall()  # fmt: skip
        return [row[0] for row in found], [-row[1] for row in found]

    def _of_thread(self) -> Any:
        """Return the connection of the calling thread."""
        mine = self._threads
        if not hasattr(mine, "connection"):
            mine.set, mine.connection = None, _connect(self._dsn, self.name)
            at_end(self, mine.connection.close)
            mine.connection.execute(
                "SELECT '[1]'::vector"
            )  # loads pgvector, which checks its settings
            for name, value in self._settings().items():
                mine.connection.execute(f"SET {name} = {value}")
        return mine.connection

    def _searching(self, k: int, *, filtered: bool) -> Any:
        """Return the thread's connection, configured to find `k` results."""
        connection, asked = self._of_thread(), (k, filtered)
        if self._threads.set != asked and not self.about["exact"]:
            on = filtered or k > DEEPEST
            depth = max(self.about["ef_search"], min(k, DEEPEST))
            for name, value in {
                "hnsw.ef_search": depth,
                "hnsw.iterative_scan": "strict_order" if on else "off",
                "ivfflat.iterative_scan": "relaxed_order" if filtered else "off",
            }.items():
                connection.execute(f"SET {name} = {value}")
        self._threads.set = asked
        return connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Add the state of a locally started server to errors."""
        try:
            yield
        except _errors() as error:
            raise EngineError(f"{_line(error)}{self._last_words()}") from None

    def _settings(self) -> dict[str, Any]:
        about = self.about
        return {
            "standard_conforming_strings": "on",  # backslashes in filters are literal
            "statement_timeout": math.ceil(1000 * about["timeout"]),
            "enable_seqscan": "on" if about["exact"] else "off",
            "max_parallel_workers_per_gather": about["threads"] - 1,
            "ivfflat.probes": about["n_probe"],
        }

    def _last_words(self) -> str:
        return f" {self._own.last_words()}" if self._own else ""

    def disk_bytes(self) -> int:
        with connected(self._dsn, self.name) as connection:
            return int(_one(connection, f"SELECT pg_total_relation_size('{self.name}')"))

    def memory_bytes(self) -> int | None:
        return self._own.memory_bytes() if self._own else None


class PostgresIndex(ChangingServerIndex, FilteringIndex):
    """A PostgreSQL table. Filters are conditions of the query; compaction is VACUUM."""

    INNER_PRODUCTS: ClassVar[bool] = True

    engine: Table

    def found_where(self, queries: Vectors, k: int, where: Where) -> tuple[Positions, Vectors]:
        return one_by_one(queries, k, lambda query: self.engine.ask(query, k, where.predicate))

    def compact(self) -> None:
        self.engine.compact()


Postgres.COLLECTION, Postgres.INDEX = Table, PostgresIndex


def own(column: str) -> str:
    """Return the quoted name of a documents' column in the table."""
    return '"own_' + column.replace('"', '""') + '"'


class Vector:
    """A vector as a statement parameter."""

    def __init__(self, values: Vectors) -> None:
        self.values = values


def drop(url_env: str, name: str) -> None:
    """Drop a table, after terminating sessions that may still use it."""
    with connected(given(url_env), variable=url_env) as connection:
        connection.execute(f"SET lock_timeout = '{LOCKED}'")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            [name],
        )
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def given(url_env: str) -> str:
    """Return the address in a variable; EngineError, which does not show it, if it is invalid."""
    from psycopg.conninfo import conninfo_to_dict

    dsn = address(url_env, EXAMPLE)
    with contextlib.suppress(_errors()):
        parts = conninfo_to_dict(dsn)
        if not any("@" in str(parts.get(name, "")) for name in ("host", "dbname")):
            return dsn
    raise no_address(url_env, EXAMPLE)


@contextlib.contextmanager
def connected(dsn: str, name: str = "rankstone", variable: str = "") -> Iterator[Any]:
    """Yield a connection; server errors become EngineErrors, UnreachableError without one.

    Args:
        variable: Environment variable with `dsn`, for the error of a failed connection.
    """
    connection = None
    try:
        connection = _connect(dsn, name)
        yield connection
    except _errors() as error:
        if connection is not None:
            raise EngineError(_line(error)) from None
        where = f" (address in {variable})" if variable else ""
        raise UnreachableError(_line(error, where)) from None
    finally:
        if connection is not None:
            connection.close()


def _connect(dsn: str, name: str) -> Any:
    import psycopg

    options = {"autocommit": True, "connect_timeout": CONNECT_S, "application_name": name}
    connection = psycopg.connect(dsn, **options)
    _send_vectors(connection)
    return connection


def _send_vectors(connection: Any) -> None:
    """Make the connection send vectors in pgvector's binary format, if pgvector is installed."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    found = _oid(connection)
    if found is None:
        return

    class VectorDumper(Dumper):  # type: ignore[misc]
        format, oid = Format.BINARY, found

        def dump(self, obj: Vector) -> bytes:
            return len(obj.values).to_bytes(2) + bytes(2) + obj.values.astype(">f4").tobytes()

    connection.adapters.register_dumper(Vector, VectorDumper)


def _oid(connection: Any) -> Any:
    """Return the OID of the vector type; None if it does not exist."""
    return _one(connection, "SELECT to_regtype('vector')::oid")


def _extension(connection: Any) -> str:
    found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    row = found.fetchone()
    if row is None:
        raise EngineError(
            f"PostgreSQL at {connection.info.host}: the database '{connection.info.dbname}' has no"
            " pgvector. Install it and run there: CREATE EXTENSION vector"
        )
    return str(row[0])


def _one(connection: Any, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _errors() -> Any:
    import psycopg

    return psycopg.Error


def _line(error: Exception, where: str = "") -> str:
    """Return a PostgreSQL error message in one line."""
    return f"PostgreSQL{where}: {' '.join(str(error).split())}"
