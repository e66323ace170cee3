import resource

from mailgw.net.files import OTHER_FILES, open_files_at_most, open_files_now, too_few_files
from tests.tables import each


@each(("most", "fits"), [(1500 + OTHER_FILES, True), (1499 + OTHER_FILES, False), (-1, True)])
def test_the_sessions_fit_into_the_open_files(most: int, fits: bool) -> None:
    why = too_few_files(1000, 500, most)
    assert (why is None) is fits
    assert fits or "or lower those" in str(why)


def test_what_is_allowed_here() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (open_files_now(), open_files_at_most()) == (soft, hard)
