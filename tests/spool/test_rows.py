"""Queue ids, and nouns as the database keeps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.spool.content import CHUNK_OCTETS, MemoryContent
from mailgw.spool.faults import fault_of, is_foreseen
from mailgw.spool.ids import QueueIds, start_of
from mailgw.spool.rows import storable, stored_mailbox, stored_path
from tests.tables import each

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)
DOMAINS = st.sampled_from(["", "example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]"])


@given(st.builds(Mailbox, PRINTABLE, DOMAINS))
def test_every_mailbox_comes_back(mailbox: Mailbox) -> None:
    assert stored_mailbox(str(mailbox)) == mailbox


def test_the_null_path_comes_back() -> None:
    assert stored_path("") is None
    assert stored_path("Postmaster") == Mailbox("Postmaster", "")


@given(st.text(st.characters()))
def test_any_text_can_be_stored(text: str) -> None:
    storable(text).encode("utf-8")


def test_queue_ids_carry_time_start_and_node() -> None:
    ids = QueueIds(lambda: 1_700_000_000.0, 33, "mx1")
    assert [ids.next_id(), ids.next_id()] == ["60a24181e4000" + "011mx1", "60a24181e4001" + "011mx1"]
    assert start_of(ids.next_id()) == "011"


@each("node", ["", "ninedigits", "a/b", "ä"])
def test_a_node_is_part_of_a_file_name(node: str) -> None:
    with pytest.raises(ValueError, match="node must be"):
        QueueIds(lambda: 0.0, 0, node)


def test_content_in_memory_comes_in_chunks() -> None:
    octets = b"x" * (2 * CHUNK_OCTETS + 1)

    async def sizes() -> list[int]:
        return [len(chunk) async for chunk in MemoryContent(octets).chunks()]

    coroutine = sizes()
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == [CHUNK_OCTETS, CHUNK_OCTETS, 1]


def test_a_fault_stays_itself() -> None:
    fault = fault_of(ValueError("x"))
    assert fault_of(fault) is fault
    assert is_foreseen(fault)
    assert not is_foreseen(ValueError())
