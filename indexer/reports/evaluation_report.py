"""The evaluation report: one page that opens offline, needs no script and can be printed, and the same as JSON.

A build writes one into its snapshot, evaluated on held-out items; `indexer evaluate --report` writes one that is
evaluated on photos that are not in the catalogue.
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
from indexer.evaluation.group_figures import GroupFigures
from indexer.evaluation.predictions import Predictions
from indexer.evaluation.robustness import EditFigures
from indexer.files.location import location
from indexer.reports import plots
from indexer.reports.contact_sheet import data_uri, thumbnail
from indexer.reports.embedding_map import EmbeddingMap, map_snapshot
from indexer.reports.file_names import FIGURES, PAGE
from shared.manifest import Manifest

STEPS = 7
"""The steps of writing a report: its figures, and the page."""
_TEMPLATES = Path(__file__).parent / "templates"
_PICTURE_PX = 112
_MAP_PICTURE_PX = 64
_GROUPS = 6
_GROUP_PICTURES = 4
_CONFUSIONS = 6

# The figures that reports are compared by, and their captions.
HEADLINES = {
    "category_accuracy": "the true category is the most probable",
    "category_accuracy_at_2": "…is among the two most probable",
    "category_accuracy_at_3": "…is among the three most probable",
    "probe_auto_coverage": "a search with probe = auto covers the true category",
    "expected_calibration_error": "difference of confidence and accuracy (less is better)",
    "category_precision_at_10": "hits of the true category, first ten",
    "unfiltered_category_precision_at_10": "…without the classifier, over all partitions",
}


@dataclass(frozen=True)
class EvaluationReport:
    """The content of a report.

    Attributes:
        evaluated_on: a description of the photos.
        manifest: of the snapshot.
        evaluation: the figures.
        diagnostics: their confidence intervals, and the snapshot's mistakes.
        catalogue: near-duplicates and doubtful labels.
        map: of the catalogue's embeddings; None for a tiny catalogue.
        edits: recall of items by edited photos; empty if no photo could be read.
        previous: the figures of the previous report; None for the first.
        groups: of the catalogue's photos; None if the photos are from elsewhere.
    """

    evaluated_on: str
    manifest: Manifest
    evaluation: Evaluation
    diagnostics: Diagnostics
    catalogue: CatalogueReport
    map: EmbeddingMap | None
    edits: tuple[EditFigures, ...]
    previous: Mapping[str, Any] | None
    groups: GroupFigures | None = None

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        evaluated_on: str,
        catalogue: CatalogueReport,
        previous: Mapping[str, Any] | None,
        edits: tuple[EditFigures, ...] = (),
        groups: GroupFigures | None = None,
    ) -> "EvaluationReport":
        """Evaluate predictions.

        Args:
            predictions: the photos with the predictions of the open snapshot.
            evaluated_on: a description of the photos.
            catalogue: the report on the snapshot's catalogue.
            previous: the result of `read_previous`.
            edits: the results of edited photos.
            groups: of the catalogue's photos, if it is evaluated on these.
        """
        evaluation = evaluation_of(predictions)
        diagnostics = diagnose(predictions, evaluation)
        snapshot = predictions.snapshot
        return cls(
            evaluated_on,
            snapshot.manifest,
            evaluation,
            diagnostics,
            catalogue,
            map_snapshot(snapshot),
            edits,
            previous,
            groups,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        duplicates = self.catalogue.near_duplicates
        return {
            "judged_by": self.evaluated_on,
            "created_at": self.manifest.created_at,
            **self.evaluation.as_dict(),
            **self.diagnostics.as_dict(),
            "near_duplicate_groups": len(duplicates.groups),
            "near_duplicate_groups_over_categories": duplicates.contradictions,
            "doubtful_labels": len(self.catalogue.suspect_labels.suspects),
            "map_explained_variance": self.map and self.map.explained,
            "changed_photos": [asdict(edit) for edit in self.edits],
            "groups": self.groups and self.groups.as_dict(),
            "before": self.previous,
        }

    def page(self, stage: Stage = SILENT_STAGE) -> str:
        """Render the page as HTML; `stage` is advanced by each of the `STEPS`."""
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
        """Write page and JSON.

        Args:
            directory: the directory; created if it does not exist.
            stage: advanced by each of the `STEPS`.

        Returns:
            The path of the page.
        """
        directory.mkdir(parents=True, exist_ok=True)
        figures = json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n"
        (directory / FIGURES).write_text(figures, encoding="utf-8")
        page = directory / PAGE
        page.write_text(self.page(stage), encoding="utf-8")
        return page

    def _pictures(self, stage: Stage) -> dict[str, str]:
        evaluation, diagnostics = self.evaluation, self.diagnostics
        draw: dict[str, Callable[[], str]] = {
            "accuracy": partial(plots.accuracy_by_category, evaluation, diagnostics.category_intervals),
            "confusions": partial(plots.confusion_matrix, diagnostics.confusions),
            "reliability": partial(plots.reliability_diagram, evaluation.reliability),
            "coverage": partial(plots.coverage_curve, diagnostics.coverage, evaluation),
            "scores": partial(plots.score_distributions, diagnostics.scores),
        }
        if self.map is not None:
            draw["map"] = partial(_drawn_map, self.map)
        drawn = {}
        for name, picture in draw.items():
            drawn[name] = picture()
            stage.advance()
        return drawn

    def _common_confusions(self) -> list[tuple[int, str, str]]:
        """Number, true category and predicted category of the most common confusions."""
        confusions = self.diagnostics.confusions
        counted = [
            (count, truth, predicted)
            for truth, row in zip(confusions.truth, confusions.counts, strict=True)
            for predicted, count in zip(confusions.predicted, row, strict=True)
            if count and truth != predicted
        ]
        return sorted(counted, key=lambda row: (-row[0], row[1:]))[:_CONFUSIONS]


def read_previous(directory: Path, snapshot_id: str) -> Mapping[str, Any] | None:
    """Read the figures of an earlier report, for comparison.

    Args:
        directory: the directory of the report.
        snapshot_id: of the snapshot that is evaluated now; of a report on the same snapshot, the report that it was
            compared with is returned.

    Returns:
        Its snapshot, numbers and headline figures with their intervals; None if there is no readable report.
    """
    try:
        figures = json.loads((directory / FIGURES).read_text(encoding="utf-8"))
        if figures["snapshot_id"] == snapshot_id:
            previous: Mapping[str, Any] | None = figures["before"]
            return previous
        names = ("snapshot_id", "queries", "snapshot_items", "snapshot_images", *HEADLINES)
        return {"intervals": figures["intervals"], **{name: figures[name] for name in names}}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or one of another version


def _drawn_map(drawn: EmbeddingMap) -> str:
    return plots.embedding_map(drawn, [thumbnail(path, _MAP_PICTURE_PX) for _, path in drawn.thumbnails])


def _picture(path: str | Path) -> str | None:
    """The thumbnail of a file as a `data:` URI; None if it can't be read."""
    picture = thumbnail(Path(path), _PICTURE_PX)
    return None if picture is None else data_uri(picture)


def _pictured(group: Group) -> dict[str, Any]:
    shown = group.items[:_GROUP_PICTURES]
    return {"categories": group.categories, "items": shown, "more": len(group.items) - len(shown)}
