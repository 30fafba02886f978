import numpy as np

from indexer.backbone.fine_tuning.strong_augmentation import strongly_augmented
from shared.model.golden import golden_image

_PICTURE = golden_image()[0]


def test_the_same_numbers_give_the_same_copy_and_others_another() -> None:
    first, again, other = (strongly_augmented(_PICTURE, [1, number]) for number in (2, 2, 3))
    assert (first.shape, first.dtype) == (_PICTURE.shape, np.uint8)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_picture_itself_is_not_changed() -> None:
    before = _PICTURE.copy()
    strongly_augmented(_PICTURE, [0])
    assert np.array_equal(_PICTURE, before)


def test_a_plain_picture_stays_plain_and_keeps_its_hue() -> None:
    plain = np.full((224, 224, 3), (150, 60, 90), np.uint8)
    for number in range(20):
        copy = strongly_augmented(plain, [number])
        assert (copy == copy[0, 0]).all()
        assert list(np.argsort(copy[0, 0])) == [1, 2, 0]


def test_half_of_the_copies_are_mirrored() -> None:
    ramp = np.tile(np.arange(224, dtype=np.uint8)[:, np.newaxis], (224, 1, 3))
    mirrored = sum(
        int(copy[:, 0].mean() > copy[:, -1].mean())
        for copy in (strongly_augmented(ramp, [number]) for number in range(60))
    )
    assert 18 <= mirrored <= 42
