"""The worker that runs in each actor of a Ray cluster."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from indexer.embedding.cluster.embed_shard import embed_shard
from indexer.embedding.cluster.ray_client import import_ray
from indexer.embedding.cluster.shard import Shard
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.files.location import exists, location
from shared import __version__
from shared.model.embedder import LiteRtEmbedder
from shared.model.golden import golden_image
from shared.priority import lower_process_priority
from shared.vectors import Vectors


class WorkerInfo(NamedTuple):
    """Identification of a worker.

    Attributes:
        node: the address of its node.
        version: its version of Parecido.
        golden: `(dim,)` float32, its embedding of the built-in test picture.
    """

    node: str
    version: str
    golden: Vectors


class Worker:
    """Embeds shards with one interpreter on one core."""

    def __init__(self, model: bytes, config: EmbeddingConfig, directory: str) -> None:
        """Load the model.

        Args:
            model: the exported backbone.
            config: settings; its embedder is replaced by one for the model.
            directory: where shard files are written.
        """
        lower_process_priority()
        self._config = replace(config, embedder=LiteRtEmbedder(model, interpreters=1), threads=1)
        self._directory = location(directory)

    def info(self) -> WorkerInfo:
        """Identify this worker."""
        golden = self._config.embedder.embed(golden_image(self._config.embedder.side_px))[0]
        return WorkerInfo(import_ray().util.get_node_ip_address(), __version__, golden)

    def embed(self, shard: Shard) -> Iterator[int]:
        """Embed a shard and write its file, unless it exists; yields the number of images done so far."""
        path = self._directory / shard.file
        if exists(path):  # written by an actor that lost its connection afterwards
            yield len(shard.images)
            return
        yield from embed_shard(shard, self._config, path)
