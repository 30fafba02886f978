"""The validated classifier head, and the one refitted on all items.

Accuracy, temperature and the out-of-distribution rule can be measured only on items that a head has not learned. But
those are 15 % of the images, and a head that has learned them too is right more often
(docs/decisions/0029-refit-on-all-items.md). So once everything is measured, the head is trained again on all items and
that one is served; what was fitted on held-out items stays with it. The validated head is kept, since the next build
compares its own with it.
"""

from dataclasses import dataclass, replace

from shared.model.classifier import Classifier
from shared.model.ood_rule import OodRule
from shared.snapshot.data_directory import SnapshotPaths


@dataclass(frozen=True)
class Heads:
    """Both heads; the same object twice where nothing is held out or nothing was refitted.

    Attributes:
        refitted: has learned all items; the one that is served.
        validated: has not learned the held-out items; every figure in the manifest was measured with it.
    """

    refitted: Classifier
    validated: Classifier

    @classmethod
    def without_refit(cls, classifier: Classifier) -> "Heads":
        """A head that is served as it was validated."""
        return cls(classifier, classifier)

    @classmethod
    def open(cls, paths: SnapshotPaths) -> "Heads":
        """Read the heads of a snapshot; earlier versions did not refit.

        Raises:
            SnapshotError: a file is missing or damaged.
        """
        refitted = Classifier.open(paths.classifier)
        if not paths.validated_classifier.exists():
            return cls.without_refit(refitted)
        return cls(refitted, replace(Classifier.open(paths.validated_classifier), ood_rule=refitted.ood_rule))

    def write(self, paths: SnapshotPaths) -> None:
        """Write the heads into a snapshot; the OOD rule, which they share, once."""
        self.refitted.save(paths.classifier)
        if self.validated is not self.refitted:
            replace(self.validated, ood_rule=None).save(paths.validated_classifier)

    def with_ood_rule(self, rule: OodRule | None) -> "Heads":
        """The same heads with another OOD rule."""
        refitted = replace(self.refitted, ood_rule=rule)
        if self.validated is self.refitted:
            return Heads.without_refit(refitted)
        return Heads(refitted, replace(self.validated, ood_rule=rule))
