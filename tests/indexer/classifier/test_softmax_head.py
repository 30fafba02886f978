import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def test_each_epoch_has_every_view_once_with_its_label_in_another_order() -> None:
    from indexer.classifier import softmax_head

    views = np.arange(600, dtype=np.float16)[:, np.newaxis] * np.ones(3, np.float16)
    batches = softmax_head._batches(views, np.arange(600) % 7, 0)
    epochs = [[(np.asarray(rows), np.asarray(labels)) for rows, labels in batches] for _ in range(2)]
    assert [len(rows) for rows, _ in epochs[0]] == [256, 256, 88]
    orders = [np.concatenate([rows[:, 0] for rows, _ in epoch]).astype(int).tolist() for epoch in epochs]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(600))
    assert all((labels == rows[:, 0] % 7).all() for epoch in epochs for rows, labels in epoch)
