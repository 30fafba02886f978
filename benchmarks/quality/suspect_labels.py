"""Wrong labels that the report of doubtful labels finds, and correct ones that it reports.

3 % of the training photos get another label, several times with different seeds: any other one at random, or the one
that the photo looks most like, as a person would mistake it. For each, and for the report's order by doubt:

- precision and recall of what is listed by default;
- average precision of the order, against those by the neighbours' opinion and by the classifier's alone.

The photos' own labels are not free of errors: what is listed of them counts as wrongly blamed here.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.harness.embedded_photos import as_originals, embed_uploads, open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.data_quality.near_duplicates import find_near_duplicates
from indexer.data_quality.suspect_labels import doubt, find_suspect_labels, gather_evidence
from indexer.groups.nearest_images import nearest_images
from shared.vectors import Vectors

_SHARE = 0.03
_SEEDS = 5


@dataclass(frozen=True)
class ListFigures:
    """One catalogue with wrong labels.

    Attributes:
        listed: how many images the report lists.
        precision: the share of these whose label was changed.
        recall: the share of those changed that are listed.
        right_suggestions: the share of those changed and listed whose own label is suggested.
        average_precision: of the order by doubt.
        neighbours_alone: …by the neighbours' opinion.
        classifier_alone: …by the classifier's.
    """

    listed: float
    precision: float
    recall: float
    right_suggestions: float
    average_precision: float
    neighbours_alone: float
    classifier_alone: float


def main() -> None:
    """Embed, change labels, evaluate, print and store."""
    options = option_parser("quality.suspect_labels", __doc__).parse_args()
    photos = list_photos(options.photos, "train")
    photos = sample(photos, 300) if options.smoke else photos
    embeddings = embed_uploads(open_lite0(), photos)
    own = [photo.category for photo in photos]
    originals = as_originals(embeddings, photos, own)
    near = nearest_images(originals)
    duplicates = find_near_duplicates(originals, near)
    listed = len(find_suspect_labels(originals, near, duplicates).suspects)
    evidence = gather_evidence(originals, near, duplicates)
    alike = [originals.categories[column] for column in doubt(evidence.combined, evidence.labels)[1]]
    rows = []
    for name, likely in (("any other label", None), ("the label that it looks most like", alike)):
        runs = [_evaluate(embeddings, photos, own, likely, seed) for seed in range(1 if options.smoke else _SEEDS)]
        means = {figure: statistics.mean(asdict(run)[figure] for run in runs) for figure in asdict(runs[0])}
        rows.append({"changed to": name, **means})
    print(f"{listed} of the {len(photos)} photos are listed with the labels that they have")
    print_records(f"{_SHARE:.0%} of the labels changed; means over {len(runs)} seeds", rows)
    store("suspect_labels", options.smoke, {"photos": len(photos), "listed_unchanged": listed, "changed": rows})


def _evaluate(
    embeddings: Vectors, photos: Sequence[Photo], own: Sequence[str], likely: Sequence[str] | None, seed: int
) -> ListFigures:
    """Change labels to the `likely` ones, or at random, and evaluate what the report lists."""
    random = np.random.default_rng(seed)
    changed = np.zeros(len(photos), dtype=np.bool_)
    changed[random.permutation(len(photos))[: round(_SHARE * len(photos))]] = True
    labels = list(own)
    for position in np.flatnonzero(changed).tolist():
        others = sorted(set(own) - {own[position]})
        labels[position] = str(random.choice(others)) if likely is None else likely[position]
    originals = as_originals(embeddings, photos, labels)
    near = nearest_images(originals)
    duplicates = find_near_duplicates(originals, near)
    evidence = gather_evidence(originals, near, duplicates)
    suspects = find_suspect_labels(originals, near, duplicates).suspects
    positions = {photo.path.name: position for position, photo in enumerate(photos)}
    listed = [positions[one.item_id] for one in suspects]
    right = [
        one.suggested == own[position] for one, position in zip(suspects, listed, strict=True) if changed[position]
    ]
    by_doubt, by_neighbours, by_classifier = (
        float(average_precision_score(changed, doubt(opinion, evidence.labels)[0]))
        for opinion in (evidence.combined, evidence.vote_shares, evidence.scores)
    )
    return ListFigures(
        listed=len(listed),
        precision=float(changed[listed].mean()) if listed else 0.0,
        recall=len(right) / int(changed.sum()),
        right_suggestions=statistics.mean(right) if right else 0.0,
        average_precision=by_doubt,
        neighbours_alone=by_neighbours,
        classifier_alone=by_classifier,
    )


if __name__ == "__main__":
    main()
