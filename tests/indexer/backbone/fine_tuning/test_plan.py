import numpy as np
import pytest

from indexer.backbone.fine_tuning import plan as module
from indexer.backbone.fine_tuning.plan import TuningPlan, plan_tuning


def test_of_a_large_catalogue_some_pictures_of_each_category_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VIEWS", 100)
    labels = np.repeat(np.arange(4), [500, 300, 198, 2])
    held = np.zeros(1000, np.bool_)
    held[::10] = True
    plan = plan_tuning(labels, held, 0)
    assert isinstance(plan, TuningPlan)
    assert plan.epochs == 1
    assert plan.copies == 0
    assert not held[plan.learned].any()
    assert np.bincount(labels[plan.learned]).tolist() == [50, 30, 19, 1]
    assert held[plan.held_out].all()
