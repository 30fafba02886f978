"""A head twice: as held-out items judged it, and as it is served.

Whether a head is better than the published one, how sure it is and what it does not know can only be told by items that
it has not learned. But those are 15 % of the photos, and a head that has learned them too is right more often
(docs/decisions/0029-all-items.md). So it is trained once more, on everything, when all that is decided; what was
fitted on held-out items stays with it. The judged one is kept beside it, since the next build has to compare with it.
"""

from dataclasses import dataclass, replace

from shared.model.classifier import Classifier
from shared.model.ood_rule import KnownRule
from shared.snapshot.data_directory import SnapshotPaths


@dataclass(frozen=True)
class Heads:
    """The two; the same one where nothing is held out, or nothing was learned afterwards.

    Attributes:
        served: has learned all items.
        judged: has not learned the held-out ones; every figure is its.
    """

    served: Classifier
    judged: Classifier

    @classmethod
    def of_one(cls, classifier: Classifier) -> "Heads":
        """A head that is served as it was judged."""
        return cls(classifier, classifier)

    @classmethod
    def open(cls, paths: SnapshotPaths) -> "Heads":
        """Those of a snapshot; earlier versions served what had been judged.

        Raises:
            SnapshotError: missing or damaged.
        """
        served = Classifier.open(paths.classifier)
        if not paths.judged_classifier.exists():
            return cls.of_one(served)
        return cls(served, replace(Classifier.open(paths.judged_classifier), known=served.known))

    def write(self, paths: SnapshotPaths) -> None:
        """Write them into a snapshot; the rule for known queries, which they share, once."""
        self.served.save(paths.classifier)
        if self.judged is not self.served:
            replace(self.judged, known=None).save(paths.judged_classifier)

    def knowing(self, rule: KnownRule | None) -> "Heads":
        """The same with a rule for known queries."""
        served = replace(self.served, known=rule)
        return Heads(served, served if self.judged is self.served else replace(self.judged, known=rule))
