"""Pictures that are parts of a page: well-formed, in the page's colours, for any names and numbers of categories."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from indexer.classifier.metrics import ReliabilityBin
from indexer.evaluation.diagnostics import Confusions, ScoreBin
from indexer.reports import plots
from indexer.reports.embedding_map import EmbeddingMap

_NAMES = ("<b> & $x$", "ärmel 🚲", "n" * 50)


def _texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(one.itertext()).strip() for one in root.iter("{http://www.w3.org/2000/svg}text")]


def test_names_are_shown_as_they_are() -> None:
    counts = ((3, 1, 0), (0, 5, 0), (0, 0, 2))
    texts = _texts(plots.confusion_matrix(Confusions(_NAMES, _NAMES, counts)))
    assert texts.count("<b> & $x$") == 1
    assert "ärmel 🚲 (5)" in texts
    assert f"{'n' * 23}…" in texts
    assert {"3", "1", "5", "2"} <= set(texts)


def test_of_very_many_categories_the_most_confused_are_drawn() -> None:
    names = tuple(f"c{number:03}" for number in range(60))
    counts = np.diag(np.full(60, 9))
    counts[57, 58] = 4
    drawn = plots.confusion_matrix(Confusions(names, names, tuple(map(tuple, counts.tolist()))))
    texts = _texts(drawn)
    assert "c057 (13)" in texts
    assert "c058" in texts
    assert sum(text.startswith("c0") for text in texts) == 80


def test_colours_are_the_pages_and_ids_are_not_shared() -> None:
    reliability = plots.reliability_diagram([ReliabilityBin(0.8, 0.9, 7, 0.85, 0.9), ReliabilityBin(0.9, 1, 3, 1, 1)])
    scores = plots.score_distributions([ScoreBin(0.1, 0.2, 3, 0), ScoreBin(0.2, 0.3, 5, 0)])
    ids = [set(re.findall(r'id="([^"]*)"', drawn)) for drawn in (reliability, scores)]
    assert not ids[0] & ids[1]
    for drawn in (reliability, scores):
        assert drawn.startswith("<svg")
        assert "currentColor" in drawn
        assert "var(--accent)" in drawn
        assert not re.search("#0[1-5]0[1-5]0[1-5]", drawn)
        assert "dc:date" not in drawn
    assert reliability == plots.reliability_diagram(
        [ReliabilityBin(0.8, 0.9, 7, 0.85, 0.9), ReliabilityBin(0.9, 1, 3, 1, 1)]
    )


def test_a_map_names_the_common_categories_and_pins_what_is_there() -> None:
    names = tuple(f"c{number:02}" for number in range(25))
    points = np.random.default_rng(0).normal(size=(25, 2))
    drawn = EmbeddingMap(points, names, (0.5, 0.25), 25, ((0, Path("a")), (1, Path("b"))))
    svg = plots.embedding_map(drawn, [Image.new("RGB", (40, 30), "red"), None])
    texts = _texts(svg)
    assert "others" in texts
    assert sum(text in names for text in texts) == 19
    assert "principal component, 50% of the variance" in texts
    without = plots.embedding_map(drawn, [None, None])
    assert svg.count("<image") == without.count("<image") + 1
