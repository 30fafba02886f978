"""The report of an evaluation: one page that opens offline, needs no script and prints, and the same as JSON.

A build writes one into its snapshot, judged by the items that it held out; `indexer evaluate --report` writes one that
is judged by photos that are not in the catalogue.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from indexer.console.progress import SILENT_STAGE, Stage
from indexer.data_quality.near_duplicates import Group
from indexer.data_quality.report import CatalogueReport
from indexer.evaluation.diagnostics import Diagnostics, diagnose
from indexer.evaluation.evaluate import Evaluation, evaluation_of
from indexer.evaluation.predictions import Predictions
from indexer.evaluation.robustness import EditFigures
from indexer.files.location import location
from indexer.reports import plots
from indexer.reports.contact_sheet import data_uri, thumbnail
from indexer.reports.embedding_map import EmbeddingMap, map_snapshot
from indexer.reports.file_names import FIGURES, PAGE
from shared.manifest import Manifest

STEPS = 7
"""Of writing a report: its pictures, and the page."""
_TEMPLATES = Path(__file__).parent / "templates"
_PICTURE_PX = 112
_MAP_PICTURE_PX = 64
_GROUPS = 6
_GROUP_PICTURES = 4
_CONFUSIONS = 6

# What a report is compared by, and how each is told.
HEADLINES = {
    "category_accuracy": "the right category is the most probable",
    "category_accuracy_at_2": "…is among the two most probable",
    "category_accuracy_at_3": "…is among the three most probable",
    "probe_auto_coverage": "a search with probe = auto covers the right category",
    "expected_calibration_error": "confidence and accuracy lie apart by (less is better)",
    "category_precision_at_10": "hits of the right category, first ten",
    "unfiltered_category_precision_at_10": "…without the classifier, over all partitions",
}


@dataclass(frozen=True)
class EvaluationReport:
    """Everything that is told.

    Attributes:
        judged_by: which photos, in words.
        manifest: of the snapshot.
        evaluation: the figures.
        diagnostics: how sure they are, and where the snapshot goes wrong.
        catalogue: near-duplicates and doubtful labels.
        map: of the catalogue's embeddings; None for a tiny one.
        changes: whether items are found by changed photos; empty where none could be read.
        before: what the report before this one said; None for the first.
    """

    judged_by: str
    manifest: Manifest
    evaluation: Evaluation
    diagnostics: Diagnostics
    catalogue: CatalogueReport
    map: EmbeddingMap | None
    changes: tuple[EditFigures, ...]
    before: Mapping[str, Any] | None

    @classmethod
    def of(
        cls,
        judged: Predictions,
        judged_by: str,
        catalogue: CatalogueReport,
        before: Mapping[str, Any] | None,
        changes: tuple[EditFigures, ...] = (),
    ) -> "EvaluationReport":
        """Of judged photos.

        Args:
            judged: the photos, and what the snapshot says of them.
            judged_by: which photos these are, in words.
            catalogue: what was found in the snapshot's catalogue.
            before: what `read_previous` read.
            changes: what was found by changed photos.
        """
        evaluation = evaluation_of(judged)
        found = diagnose(judged, evaluation)
        drawn = map_snapshot(judged.snapshot)
        return cls(judged_by, judged.snapshot.manifest, evaluation, found, catalogue, drawn, changes, before)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        duplicates = self.catalogue.near_duplicates
        return {
            "judged_by": self.judged_by,
            "created_at": self.manifest.created_at,
            **self.evaluation.as_dict(),
            **self.diagnostics.as_dict(),
            "near_duplicate_groups": len(duplicates.groups),
            "near_duplicate_groups_over_categories": duplicates.contradictions,
            "doubtful_labels": len(self.catalogue.suspect_labels.suspects),
            "map_explained_variance": self.map and self.map.explained,
            "changed_photos": [asdict(one) for one in self.changes],
            "before": self.before,
        }

    def page(self, stage: Stage = SILENT_STAGE) -> str:
        """As HTML; `stage` is told of each of the `STEPS`."""
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
        page = environment.get_template(PAGE).render(
            report=self,
            headlines=HEADLINES,
            pictures=self._pictures(stage),
            picture_of=_picture,
            confusions=self._common_confusions(),
            groups=[_pictured(group) for group in self.catalogue.near_duplicates.groups[:_GROUPS]],
            root=location(self.manifest.image_root),
        )
        stage.advance()
        return page

    def write(self, directory: Path, stage: Stage = SILENT_STAGE) -> Path:
        """Write page and JSON into a directory, which is made.

        Args:
            directory: where.
            stage: is told of each of the `STEPS`.

        Returns:
            The page.
        """
        directory.mkdir(parents=True, exist_ok=True)
        told = json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n"
        (directory / FIGURES).write_text(told, encoding="utf-8")
        page = directory / PAGE
        page.write_text(self.page(stage), encoding="utf-8")
        return page

    def _pictures(self, stage: Stage) -> dict[str, str]:
        evaluation, found = self.evaluation, self.diagnostics
        draw: dict[str, Callable[[], str]] = {
            "accuracy": partial(plots.accuracy_by_category, evaluation, found.category_intervals),
            "confusions": partial(plots.confusion_matrix, found.confusions),
            "reliability": partial(plots.reliability_diagram, evaluation.reliability),
            "coverage": partial(plots.coverage_curve, found.coverage, evaluation),
            "scores": partial(plots.score_distributions, found.scores),
        }
        if self.map is not None:
            draw["map"] = partial(_drawn_map, self.map)
        drawn = {}
        for name, picture in draw.items():
            drawn[name] = picture()
            stage.advance()
        return drawn

    def _common_confusions(self) -> list[tuple[int, str, str]]:
        """How many photos, of which category, were taken for which: the most first."""
        told = self.diagnostics.confusions
        found = [
            (count, truth, predicted)
            for truth, row in zip(told.truth, told.counts, strict=True)
            for predicted, count in zip(told.predicted, row, strict=True)
            if count and truth != predicted
        ]
        return sorted(found, key=lambda one: (-one[0], one[1:]))[:_CONFUSIONS]


def read_previous(directory: Path, snapshot_id: str) -> Mapping[str, Any] | None:
    """What an earlier report in a directory said, for the one that takes its place or follows it.

    Args:
        directory: where it may be.
        snapshot_id: of the snapshot that is judged now: a report on this very one is passed over, for what it was
            compared with itself.

    Returns:
        Its snapshot, numbers and headline figures with their intervals; None where there is none that can be read.
    """
    try:
        told = json.loads((directory / FIGURES).read_text(encoding="utf-8"))
        if told["snapshot_id"] == snapshot_id:
            before: Mapping[str, Any] | None = told["before"]
            return before
        names = ("snapshot_id", "queries", "snapshot_items", "snapshot_images", *HEADLINES)
        return {"intervals": told["intervals"], **{name: told[name] for name in names}}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or one of another version


def _drawn_map(drawn: EmbeddingMap) -> str:
    return plots.embedding_map(drawn, [thumbnail(path, _MAP_PICTURE_PX) for _, path in drawn.thumbnails])


def _picture(path: str | Path) -> str | None:
    """A small picture of a file as an address; None where it is gone."""
    found = thumbnail(Path(path), _PICTURE_PX)
    return None if found is None else data_uri(found)


def _pictured(group: Group) -> dict[str, Any]:
    shown = group.items[:_GROUP_PICTURES]
    return {"categories": group.categories, "items": shown, "more": len(group.items) - len(shown)}
