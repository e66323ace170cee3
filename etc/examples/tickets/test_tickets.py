"""Run by ``pytest``: letters in, the database, answers out, with the gateway of ``mailgw.testing`` and the
configuration beside this file.  Nothing listens, nothing sleeps."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import tickets

from mailgw import ctl
from mailgw.mail.letter import LetterLimits, parse_letter
from mailgw.testing import Gateway

LETTER = b"From: Ann <ann@example.net>\nSubject: Printer\nMessage-ID: <1@example.net>\n\nIt is broken.\n"
HELP, FIRST = "help@desk.example.org", "ticket+1@desk.example.org"


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.setattr(tickets, "DATABASE", str(tmp_path / "tickets.db"))

    def rows(question):
        with closing(sqlite3.connect(tickets.DATABASE)) as connection:
            return connection.execute(question).fetchall()

    return rows


@pytest.fixture
def gateway(database):
    with Gateway(Path(__file__).with_name("mailgw.toml")) as gateway:
        yield gateway


def send(gateway, to, octets=LETTER):
    answer = gateway.receive(octets, sender="ann@example.net", to=[to], client="192.0.2.1")
    gateway.settle()
    return answer


def answers(gateway):
    return [parse_letter(octets, LetterLimits()) for octets in gateway.mailbox("ann@example.net")]


def test_a_letter_opens_a_ticket_and_its_author_gets_the_number(gateway, database):
    assert send(gateway, HELP).code == 250
    assert database("select number, author, subject, is_answered from ticket") == [
        (1, "ann@example.net", "Printer", 1)]
    [answer] = answers(gateway)
    assert (answer.subject, str(answer.authors[0])) == ("[ticket 1] Printer", FIRST)
    assert answer.fields["in-reply-to"] == "<1@example.net>"


def test_a_program_gets_no_answer(gateway, database):
    assert send(gateway, HELP, b"Auto-Submitted: auto-replied\n" + LETTER).code == 250
    assert database("select count(*) from ticket") == [(1,)]
    assert answers(gateway) == []


def test_letters_to_a_ticket(gateway, database):
    refused = send(gateway, FIRST)
    assert str(refused.reply) == "550 5.1.1 There is no ticket 1"
    send(gateway, HELP)
    more = (
        b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nSee there.\n--x\n"
        b"Content-Type: image/png\nContent-Disposition: attachment; filename=../p.png\n\nPNG\n--x--\n"
    )
    assert send(gateway, FIRST, more).code == 250
    assert database("select text from letter where ticket = 1") == [("It is broken.\n",), ("See there.",)]
    assert database("select name, octets from file") == [("p.png", b"PNG")]


def test_a_database_that_is_not_there_is_waited_for(gateway, database, monkeypatch):
    there = tickets.DATABASE
    monkeypatch.setattr(tickets, "DATABASE", "/nowhere/tickets.db")
    assert send(gateway, HELP).code == 250  # it is in the queue
    gateway.advance(minutes=5)
    assert answers(gateway) == []
    monkeypatch.setattr(tickets, "DATABASE", there)
    gateway.advance(minutes=1)
    assert database("select is_answered from ticket") == [(1,)]
    assert len(answers(gateway)) == 1


def test_what_comes_twice_is_filed_once(database):
    assert tickets.open_ticket("Q1 help", "ann@example.net", "Printer", "broken", []) == (1, False)
    tickets.mark_answered(1)
    assert tickets.open_ticket("Q1 help", "ann@example.net", "Printer", "broken", []) == (1, True)
    assert [tickets.follow_ticket("Q2", 1, "", "more", []) for _ in range(2)] == [True, True]
    assert database("select count(*) from letter") == [(2,)]


def test_who_is_there(gateway):
    assert send(gateway, "nobody@desk.example.org").code == 550
    assert send(gateway, "postmaster@desk.example.org").code == 250


def test_the_configuration_is_good(capsys):
    assert ctl.main(["check", "-c", str(Path(__file__).with_name("mailgw.toml"))]) == 0
    assert "warning" not in capsys.readouterr().err
