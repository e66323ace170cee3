"""Recipients that a service knows: how it is asked, and what an answer without an end is worth."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found
from mailgw.net.https import HttpAnswer
from mailgw.store.directory_settings import HttpSettings
from mailgw.store.http_directory import HttpDirectory, open_http_directory
from mailgw.testing.driving import result_of
from tests.tables import each

ANN = Mailbox("ann", "x.test")
SETTINGS = HttpSettings("https://d.test/{recipient}", None, None, 5.0, 2)


class Service:
    """``store.http_directory.Getter``."""

    def __init__(self, answer: HttpAnswer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def get(self, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        self.asked.append((url, dict(headers)))
        return self.answer


def test_it_is_asked_with_the_token_that_the_file_has_now(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", Clock()
    file.write_text("one\nmore\n")
    service = Service(HttpAnswer(200, b'{"exists": true}'))
    settings = HttpSettings("https://d.test/{recipient}", str(file), None, 5.0, 2)
    directory = HttpDirectory(settings, service, clock, lambda: 0.0)
    assert result_of(directory.find(ANN)) == Found()
    (tmp_path / "new").write_text("two")
    os.replace(tmp_path / "new", file)
    clock.advance(2)
    assert result_of(directory.find(ANN)) == Found()
    assert service.asked == [
        ("https://d.test/ann%40x.test", {"Accept": "application/json", "Authorization": f"Bearer {token}"})
        for token in ("one", "two")
    ]
    with pytest.raises(TemporaryFault, match="cannot be read"):
        HttpDirectory(HttpSettings("", str(tmp_path / "none"), None, 5.0, 2), service, clock, lambda: 0.0)


def test_an_answer_that_anybody_could_have_cut_off_says_nothing() -> None:
    service = Service(HttpAnswer(200, b'{"exists": false}', is_whole=False))
    with pytest.raises(TemporaryFault, match="connection ended"):
        result_of(HttpDirectory(SETTINGS, service, Clock(), lambda: 0.0).find(ANN))
    assert service.asked == [("https://d.test/ann%40x.test", {"Accept": "application/json"})]


@each(("url", "local_part", "asked"), [
    ("https://d.test/{domain}/{local_part}", "..", None), ("https://d.test/{domain}/{local_part}", ".", None),
    ("https://d.test/{domain}/{local_part}", "...", "https://d.test/x.test/..."),
    ("https://d.test/{domain}/{local_part}", "../a", "https://d.test/x.test/..%2Fa"),
    ("https://d.test/{recipient}", "..", "https://d.test/..%40x.test"),
])
def test_no_address_is_a_step_to_another_path(url: str, local_part: str, asked: str | None) -> None:
    service = Service(HttpAnswer(200, b'{"exists": true}'))
    directory = HttpDirectory(HttpSettings(url, None, None, 5.0, 2), service, Clock(), lambda: 0.0)
    if asked is None:
        with pytest.raises(TemporaryFault, match="dots alone"):
            result_of(directory.find(Mailbox(local_part, "x.test")))
    else:
        assert result_of(directory.find(Mailbox(local_part, "x.test"))) == Found()
    assert [url for url, _ in service.asked] == ([] if asked is None else [asked])


def test_its_trouble_has_the_same_words_for_everybody() -> None:
    class Down:
        async def get(self, url: str, headers: Mapping[str, str]) -> HttpAnswer:
            raise TemporaryFault(f"{url}: no answer within 5 s")

    with pytest.raises(TemporaryFault, match=r"^https://d.test/\{recipient\}: no answer within 5 s$"):
        result_of(HttpDirectory(SETTINGS, Down(), Clock(), lambda: 0.0).find(ANN))


def test_it_keeps_connections() -> None:
    directory, close = open_http_directory(SETTINGS, Clock(), lambda: 0.0)
    assert isinstance(directory, HttpDirectory)
    close()  # type: ignore[unused-coroutine]
