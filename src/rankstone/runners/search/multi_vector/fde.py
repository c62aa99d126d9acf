"""Fixed dimensional encodings: one vector for the several vectors of a text, whose inner products
approximate MaxSim."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError
from rankstone.runners.saved import SavedIndex, resident_bytes

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
FinalProjection = Literal["signs", "count_sketch"]
BATCH_BYTES = 32 * 2**20
"""Bytes of projected tokens and encodings per batch."""
FINAL_BYTES = 2**30
"""Size up to which final projections are kept in memory; larger ones are redrawn per batch."""
STEP = 2**24
"""Weight of a differing sign bit against token positions, which break ties: more than a batch has
tokens."""
NOTHING = 2**30
"""More than all differing sign bits."""


@dataclass(frozen=True, kw_only=True)
class FdeShape:
    """Parameters of an encoding of `dim`-dimensional vectors."""

    dim: int
    repetitions: int
    simhash_bits: int
    inner_dim: int
    final_dim: int | None = None
    final_projection: FinalProjection = "signs"

    @property
    def block_size(self) -> int:
        """Dimensions of one repetition."""
        return (1 << self.simhash_bits) * self.inner_dim

    @property
    def full_dim(self) -> int:
        """Dimensions before the final projection."""
        return self.repetitions * self.block_size

    @property
    def fde_dim(self) -> int:
        """Dimensions of an encoding."""
        return self.final_dim or self.full_dim


@dataclass(frozen=True, eq=False)
class FixedDimensionalEncoder(SavedIndex):
    """One vector per text such that <F(Q), F(P)> approximates MaxSim(Q, P).

    Dhulipala et al., MUVERA (NeurIPS 2024, arXiv:2405.19504), section 2. Each of R repetitions
    partitions space by k Gaussian hyperplanes: a token lies in the block of the k bits <g_i, x> >
    0. It is projected to psi(x) = S x / sqrt(d_inner), S a matrix of random signs, or psi(x) = x
    if d_inner = d. Block b of a query is the sum of psi over its tokens in b, zero if there are
    none; block b of a document is the mean or, if there are none, psi of the first token whose bits
    differ from b in the fewest positions. The blocks of all repetitions are concatenated to
    R 2^k d_inner dimensions, which may be projected to `final_dim`: by a matrix of random signs,
    scaled by 1/sqrt(final_dim), or by a count sketch, which adds each coordinate with a random sign
    to one random coordinate of the result (Charikar, Chen, Farach-Colton, Finding Frequent Items in
    Data Streams, ICALP 2002). Both preserve inner products in expectation; a count sketch takes one
    addition per coordinate instead of `final_dim`. Both sides are scaled by 1/sqrt(R), so that the
    inner product has the scale of MaxSim.

    The paper's text has random signs. Google's code (google/graph-mining) uses count sketches for
    both projections, and does not scale by 1/sqrt(R).

    Encoding n tokens takes n d R (k + d_inner) multiply-adds; filling empty blocks takes R 2^k k
    minima per document, for any number of tokens, as minima of (differing bits, position) propagate
    along the edges of the hypercube of blocks. A token's block does not depend on the batch;
    projections may be rounded differently.
    """

    shape: FdeShape
    planes: Floats
    """(dim, R * k) normals of the hyperplanes."""
    signs: Floats | None
    """(dim, R * d_inner) scaled signs; None: tokens are not projected."""
    seed: int

    @cached_property
    def _sketch(self) -> Any:
        """(full_dim, final_dim) sparse, one random sign per row; None without a count sketch."""
        shape = self.shape
        if not shape.final_dim or shape.final_projection != "count_sketch":
            return None
        from scipy.sparse import csr_array

        rng = np.random.default_rng([self.seed, 2])
        columns = rng.integers(shape.final_dim, size=shape.full_dim, dtype=np.int32)
        signs = _random_signs(rng, shape.full_dim, 1).ravel()
        starts = np.arange(shape.full_dim + 1, dtype=np.int32)
        return csr_array((signs, columns, starts), shape=(shape.full_dim, shape.final_dim))

    @cached_property
    def _final(self) -> tuple[Floats, ...]:
        shape = self.shape
        if shape.final_projection != "signs":
            return ()
        if not shape.final_dim or 4 * shape.full_dim * shape.final_dim > FINAL_BYTES:
            return ()
        return tuple(self._drawn_final(number) for number in range(shape.repetitions))

    def nbytes(self) -> int:
        """Bytes of the random matrices."""
        return super().nbytes() + resident_bytes(self._final) + resident_bytes(self._sketch)

    @classmethod
    def draw(cls, shape: FdeShape, seed: int) -> FixedDimensionalEncoder:
        """Draw the random matrices, determined by the seed."""
        if shape.inner_dim > shape.dim:
            raise DefinitionError(
                f"key 'parameters.inner_dim': {shape.inner_dim} is more than the {shape.dim}"
                " dimensions of the encoder's vectors. Correct it, or leave it out to project none."
            )
        rng = np.random.default_rng([seed, 0])
        n_planes = shape.repetitions * shape.simhash_bits
        planes = rng.standard_normal((shape.dim, n_planes), dtype=np.float32)
        if shape.inner_dim == shape.dim:
            return cls(shape, planes, None, seed)
        signs = _random_signs(rng, shape.dim, shape.repetitions * shape.inner_dim)
        return cls(shape, planes, signs / np.float32(np.sqrt(shape.inner_dim)), seed)

    def queries(self, tokens: Floats, lengths: Ints) -> Floats:
        """Return the (n_texts, fde_dim) encodings of queries.

        Args:
            tokens: (n_tokens, dim) finite vectors, concatenated text by text.
            lengths: (n_texts,) number of vectors of each text; a text without vectors becomes zero.
        """
        return self._encoded(tokens, lengths, fill=False)

    def documents(self, tokens: Floats, lengths: Ints) -> Floats:
        """Return the (n_texts, fde_dim) encodings of documents."""
        return self._encoded(tokens, lengths, fill=True)

    def _encoded(self, tokens: Floats, lengths: Ints, *, fill: bool) -> Floats:
        encodings = np.empty((len(lengths), self.shape.fde_dim), np.float32)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        per_token = 4 * self.shape.repetitions * (self.shape.inner_dim + self.shape.simhash_bits)
        costs = np.cumsum(lengths * per_token + 4 * self.shape.full_dim)
        start = 0
        while start < len(lengths):
            limit = BATCH_BYTES + (costs[start - 1] if start else 0)
            stop = max(int(np.searchsorted(costs, limit, side="right")), start + 1)
            batch = np.ascontiguousarray(tokens[ends[start] : ends[stop]], dtype=np.float32)
            blocks = self._blocks(batch, lengths[start:stop], fill)
            encodings[start:stop] = self._finally(blocks)
            start = stop
        return encodings

    def _blocks(self, tokens: Floats, lengths: Ints, fill: bool) -> Floats:
        """Return (n_texts, full_dim) sums, or means with empty blocks filled."""
        from scipy.sparse import csc_array

        shape, n_texts = self.shape, len(lengths)
        n_blocks = 2**shape.simhash_bits
        cells = (n_texts, shape.repetitions, n_blocks)
        text = np.repeat(np.arange(n_texts), lengths)
        first_block = (text[:, None] * shape.repetitions + np.arange(shape.repetitions)) * n_blocks
        rows = (first_block + self._block_of(tokens)).ravel()
        projected = self._projected(tokens)
        counts = np.bincount(rows, minlength=np.prod(cells))
        weights = 1 / counts[rows].astype(np.float32) if fill else np.ones(len(rows), np.float32)
        # One entry per column: the product adds each projected token to its block, in order.
        adding = csc_array(
            (weights, rows, np.arange(len(rows) + 1)), shape=(len(counts), len(rows))
        )
        sums: Floats = adding @ projected
        if fill:
            empty = np.flatnonzero(counts == 0)
            nearest = _nearest(rows, cells)[empty]
            found = nearest >= 0  # False for a text without tokens
            repetition = empty // n_blocks % shape.repetitions
            sources = nearest * shape.repetitions + repetition
            sums[empty[found]] = projected.take(sources[found], axis=0)
        sums *= np.float32(1 / np.sqrt(shape.repetitions))
        return sums.reshape(n_texts, shape.full_dim)

    def _block_of(self, tokens: Floats) -> Ints:
        """Return the (n_tokens, R) block of each token; bit i of its number is that of plane i."""
        shape = self.shape
        heights = tokens @ self.planes
        # In a different batch, a product may be rounded differently by this much and change its
        # sign: such values are recomputed in a fixed precision and order.
        lengths = np.sqrt(np.einsum("ij,ij->i", tokens, tokens).max(initial=0.0))
        widths = np.sqrt(np.einsum("ij,ij->j", self.planes, self.planes).max(initial=0.0))
        unsure = shape.dim * np.finfo(np.float32).eps * lengths * widths
        row, column = np.nonzero(np.abs(heights) <= unsure)
        again = tokens[row].astype(np.float64) * self.planes.T[column]
        heights[row, column] = np.sign(again.sum(axis=1))
        bits = (heights > 0).reshape(len(tokens), shape.repetitions, shape.simhash_bits)
        numbers: Ints = bits @ (1 << np.arange(shape.simhash_bits))
        return numbers

    def _projected(self, tokens: Floats) -> Floats:
        """Return (n_tokens * R, d_inner): psi of each token in each repetition."""
        if self.signs is None:
            return np.repeat(tokens, self.shape.repetitions, axis=0)
        projected: Floats = (tokens @ self.signs).reshape(-1, self.shape.inner_dim)
        return projected

    def _finally(self, blocks: Floats) -> Floats:
        """Return (n_texts, fde_dim) encodings; signs are applied one repetition at a time."""
        if self.shape.final_dim is None:
            return blocks
        if self._sketch is not None:
            sketched: Floats = blocks @ self._sketch
            return sketched
        size = self.shape.block_size
        total = np.zeros((len(blocks), self.shape.final_dim), np.float32)
        for number in range(self.shape.repetitions):
            signs = self._final[number] if self._final else self._drawn_final(number)
            total += np.ascontiguousarray(blocks[:, number * size : (number + 1) * size]) @ signs
        return total / np.float32(np.sqrt(self.shape.final_dim))

    def _drawn_final(self, repetition: int) -> Floats:
        rng = np.random.default_rng([self.seed, 1, repetition])
        return _random_signs(rng, self.shape.block_size, self.shape.final_dim or 0)


def _random_signs(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-rows * columns // 8)), np.uint8))
    return (2 * bits[: rows * columns].astype(np.float32) - 1).reshape(rows, columns)


def _nearest(rows: Ints, cells: tuple[int, int, int]) -> Ints:
    """Return the (prod(cells),) token with the fewest bits different from each block; -1 if none.

    `rows` are the blocks of token 0 in all repetitions, then of token 1, and so on.
    """
    n_texts, repetitions, n_blocks = cells
    tokens = np.repeat(np.arange(len(rows) // repetitions, dtype=np.int32), repetitions)
    first = np.full(n_texts * repetitions * n_blocks, NOTHING, np.int32)
    first[rows[::-1]] = tokens[::-1]  # the last assignment wins: the block's first token
    # Blocks are the first axis, so that minima are over contiguous memory.
    costs = np.ascontiguousarray(first.reshape(-1, n_blocks).T)
    for bit in range(n_blocks.bit_length() - 1):
        pairs = costs.reshape(-1, 2, 2**bit, n_texts * repetitions)
        without, with_bit = pairs[:, 0].copy(), pairs[:, 1]
        np.minimum(without, with_bit + STEP, out=pairs[:, 0])
        np.minimum(with_bit, without + STEP, out=pairs[:, 1])
    nearest: Ints = np.where(costs < NOTHING, costs % STEP, -1).T.ravel().astype(np.int64)
    return nearest
