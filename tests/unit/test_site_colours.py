"""Colours of the site's stylesheet: contrast, and families under deuteranopia."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from rankstone.leaderboards.site.environment import asset
from rankstone.leaderboards.site.model import COLOURS
from rankstone.leaderboards.site.vega import SHAPES

CSS = asset("site.css")
# Machado, Oliveira and Fernandes, IEEE TVCG 15, 2009: deuteranopia, severity 1, of linear RGB.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def theme(dark: bool) -> dict[str, NDArray[np.float64]]:
    """Return the linear RGB of every variable of a theme."""
    start = r':root\[data-theme="dark"\] \{' if dark else r"^:root \{"
    block = re.search(rf"{start}(.*?)\}}", CSS, re.S | re.M)
    assert block is not None
    found = re.findall(r"--(\w+): #([0-9a-f]{6})", block[1])
    return {name: linear(np.frombuffer(bytes.fromhex(code), np.uint8)) for name, code in found}


def linear(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = rgb / 255
    found: NDArray[np.float64] = np.where(
        share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4
    )
    return found


def contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the contrast ratio of WCAG 2."""
    light, dark = sorted((float(TO_XYZ[1] @ one), float(TO_XYZ[1] @ other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    share = (TO_XYZ @ rgb.clip(0, 1)) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("dark", [False, True])
def test_families_of_one_shape_differ_in_colour_to_every_reader(dark: bool) -> None:
    colours = [theme(dark)[f"k{n}"] for n in range(COLOURS)]
    seen = {"all": np.eye(3), "deuteranopia": DEUTERANOPIA}
    for (one, other), (who, matrix) in itertools.product(
        itertools.combinations(range(COLOURS), 2), seen.items()
    ):
        distance = float(np.linalg.norm(lab(matrix @ colours[one]) - lab(matrix @ colours[other])))
        if one % len(SHAPES) == other % len(SHAPES):
            assert distance > 20, (one, other, who)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_that_of_wcag_aa(dark: bool) -> None:
    colours = theme(dark)
    for text, ground in itertools.product(
        ("ink", "dim", "accent", "bad", "good"), ("paper", "sheet")
    ):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for mark in (*(f"k{n}" for n in range(COLOURS)), "faint", "warm"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark
    assert contrast(
        linear(np.array([0, 0, 0], np.uint8)), linear(np.array([255] * 3, np.uint8))
    ) == (pytest.approx(21))


def test_both_ways_to_the_dark_theme_have_the_same_colours() -> None:
    blocks = re.findall(r'data-theme="(?:light|dark)"\]\)? \{(.*?)\}', CSS, re.S)
    assert len(blocks) == 2
    one, other = (re.findall(r"--\w+: [^;]+", block) for block in blocks)
    assert one == other
    assert len(one) > COLOURS
