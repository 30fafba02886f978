"""Embeds a catalogue in a process of its own, which can be killed, and prints what came of it.

`python driver.py CATALOGUE CACHE MODEL [ADDRESS SHARDS]`: on this machine, or on the cluster at ADDRESS. It prints a
line an image that is done; at last a line of JSON.
"""

import hashlib
import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexer.catalogue.reader import read_catalogue
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.cluster.ray_executor import RayExecutor
from indexer.embedding.embed_catalogue import embed_catalogue, embed_locally
from indexer.embedding.embed_image import EmbeddingConfig
from shared.images.limits import ImageLimits
from shared.model.embedder import LiteRtEmbedder

SHARD_IMAGES = 10


class _Lines:
    def advance(self) -> None:
        print("done", file=sys.__stdout__, flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(catalogue: str, cache_path: str, model_path: str, address: str = "", shards: str = "") -> None:
    model = Path(model_path).read_bytes()
    how = EmbeddingConfig(LiteRtEmbedder(model, 1), Augmentation(copies=1), ImageLimits(), threads=1)
    executor = RayExecutor(model, address, Path(shards), SHARD_IMAGES, 0, _say) if address else embed_locally
    with closing(EmbeddingCache(Path(cache_path), how.recipe, 2, _say)) as cache:
        seen: list[bool] = []

        def watched(*told):  # type: ignore[no-untyped-def]
            done = executor(*told)
            seen.extend(one.fresh for one in done[1])
            return done

        embedded = embed_catalogue(read_catalogue(Path(catalogue)), replace(how, cache=cache), _Lines(), watched)
        views = embedded.views[np.arange(len(embedded.digests))]
        told = {
            "digests": [digest.hex() for digest in embedded.digests],
            "views": hashlib.sha256(views.tobytes()).hexdigest(),
            "items": [item.item_id for item in embedded.items],
            "problems": [problem.as_dict() for problem in embedded.problems],
            "put": cache.n_put,
            "fresh": sum(seen),
        }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
