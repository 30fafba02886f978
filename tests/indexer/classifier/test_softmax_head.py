import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def test_each_epoch_has_every_view_once_with_its_label_in_another_order() -> None:
    from indexer.classifier import softmax_head

    views = np.arange(600, dtype=np.float16)[:, np.newaxis] * np.ones(3, np.float16)
    weights = np.stack([np.arange(600), 2 * np.arange(600)], axis=1).astype(np.float32)
    batches = softmax_head._batches(views, np.arange(600) % 7, weights, 0)
    epochs = [[tuple(map(np.asarray, batch)) for batch in batches] for _ in range(2)]
    assert [len(rows) for rows, _, _ in epochs[0]] == [256, 256, 88]
    orders = [np.concatenate([rows[:, 0] for rows, _, _ in epoch]).astype(int).tolist() for epoch in epochs]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(600))
    for rows, labels, own in (batch for epoch in epochs for batch in epoch):
        assert (labels == rows[:, :1] % 7).all()
        assert labels.shape == own.shape == (len(rows), 2)
        assert (own == rows[:, :1] * [1, 2]).all()
