"""The words of a snapshot: their index, and the encoder that turns a text into an embedding."""

from dataclasses import dataclass
from pathlib import Path

from shared.deadline import NO_DEADLINE, Deadline
from shared.words.lexical_index import LexicalIndex
from shared.words.text_encoder import TextEncoder


@dataclass(frozen=True)
class CatalogueWords:
    """The parts of a search by text.

    Attributes:
        encoder: makes base embeddings.
        index: has the items by word.
    """

    encoder: TextEncoder
    index: LexicalIndex

    @classmethod
    def open(cls, encoder_path: Path, index_path: Path, deadline: Deadline = NO_DEADLINE) -> "CatalogueWords | None":
        """Open both files; None if the snapshot lacks one.

        Raises:
            SnapshotError: a file is damaged.
        """
        if not (encoder_path.exists() and index_path.exists()):
            return None
        return cls(TextEncoder.open(encoder_path), LexicalIndex(index_path, deadline))

    def close(self) -> None:
        """Close the index."""
        self.index.close()
