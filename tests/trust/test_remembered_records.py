"""Records that come again are read once, where they are small; how many of them are remembered has an end."""

from collections.abc import Callable

from mailgw.trust import dkim_key, dmarc_record, spf_record
from tests.tables import each

SPF, DMARC, KEY = b"v=spf1 -all", b"v=DMARC1; p=reject", b"v=DKIM1; p=MCow"
FILLED = {SPF: b"v=spf1 %s-all", DMARC: b"v=DMARC1; p=reject;%s", KEY: b"v=DKIM1; p=MCow;%s"}


def filled(record: bytes, octets: int) -> bytes:
    """The same record, with spaces in it, so long."""
    made = FILLED[record] % (b" " * (octets - len(FILLED[record] % b"")))
    assert len(made) == octets
    return made


@each(("read", "record", "most"), [
    (spf_record.read_record, SPF, spf_record.REMEMBERED_OCTETS),
    (dmarc_record.read_record, DMARC, dmarc_record.REMEMBERED_OCTETS),
    (dkim_key.read_key_record, KEY, dkim_key.REMEMBERED_OCTETS),
])
def test_small_ones_are_remembered(read: Callable[[bytes], object], record: bytes, most: int) -> None:
    small, large = filled(record, most), filled(record, most + 1)
    assert read(small) is read(bytes(bytearray(small)))
    assert read(large) is not read(large)
    assert read(small) == read(large) == read(record)


@each(("read", "record", "most"), [
    (spf_record.read_record, SPF, spf_record.REMEMBERED),
    (dmarc_record.read_record, DMARC, dmarc_record.REMEMBERED),
    (dkim_key.read_key_record, KEY, dkim_key.REMEMBERED),
])
def test_the_one_that_is_longest_unused_goes(read: Callable[[bytes], object], record: bytes, most: int) -> None:
    def others(count: int) -> None:
        for number in range(count):
            read(filled(record, 100 + number))

    first = read(record)
    others(most - 1)
    assert read(record) is first
    others(most)
    assert read(record) is not first
