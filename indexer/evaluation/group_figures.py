"""The groups of a catalogue's photos, for the report: how many, the largest, and what a random split would claim."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from indexer.classifier.choose import RANDOM_SPLIT
from indexer.classifier.held_out import HeldOut

_N_LARGEST = 6
_N_SHOWN = 8


@dataclass(frozen=True)
class LargeGroup:
    """One of the largest groups: its category, its number of photos, and the paths of some spread over them."""

    category: str
    photos: int
    shown: tuple[str, ...]


@dataclass(frozen=True)
class GroupFigures:
    """The groups of all photos.

    Attributes:
        photos: number of photos in the catalogue.
        groups: number of groups.
        min_cosine: of two photos of different items that are linked.
        folds: number of folds that the figures are measured on.
        random_split_accuracy: the accuracy on random items; None if it was not measured.
        divided: categories of which one group was divided by items.
        largest: those of the most photos.
    """

    photos: int
    groups: int
    min_cosine: float
    folds: int
    random_split_accuracy: float | None
    divided: tuple[str, ...]
    largest: tuple[LargeGroup, ...]

    @classmethod
    def of(cls, held_out: HeldOut, classifier: Mapping[str, Any]) -> "GroupFigures":
        """Describe the groups of a catalogue.

        Args:
            held_out: its held-out images.
            classifier: the figures of the manifest.
        """
        folds, embedded = held_out.folds, held_out.embedded
        names = [name for item in embedded.items for name in item.images]
        largest = []
        for images in folds.groups.largest(_N_LARGEST):
            step = max(1, len(images) // _N_SHOWN)
            category = embedded.items[embedded.image_items[images[0]]].category
            shown = tuple(names[image] for image in images[::step][:_N_SHOWN])
            largest.append(LargeGroup(category, len(images), shown))
        return cls(
            photos=len(embedded.digests),
            groups=folds.groups.n_groups,
            min_cosine=round(folds.groups.min_cosine, 4),
            folds=held_out.n_folds,
            random_split_accuracy=classifier.get(RANDOM_SPLIT),
            divided=folds.divided,
            largest=tuple(largest),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
