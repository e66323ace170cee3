"""What stands after the start is not looked through again."""

import gc

from mailgw.net import garbage


def test_what_stands_is_frozen() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    mine = [{"made": "before"}]
    try:
        garbage.settle()
        assert gc.get_threshold() == garbage.COLLECT_AFTER
        assert gc.get_freeze_count() > frozen
        assert not any(one is mine for one in gc.get_objects())
    finally:
        gc.set_threshold(*before)
