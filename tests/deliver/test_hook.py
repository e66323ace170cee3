"""A program of the operator's: what it is told, and what is made of how it ends."""

import os
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor

from mailgw.deliver.command import leader
from mailgw.deliver.hook import done_by

FIRST = leader()


def program(folder: Path, text: str) -> str:
    path = folder / "publish"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest_twisted.ensureDeferred
async def test_its_words_are_words_whatever_is_in_them(tmp_path: Path) -> None:
    path = program(tmp_path, f'printf "%s|" "$@" > {tmp_path}/said; env >> {tmp_path}/said; cat')
    words = [path, "a._domainkey.example.org", "v=DKIM1; p=$(id) `id` '\"", ""]
    os.environ["SECRET"] = "x"
    try:
        assert await done_by(words, 10.0, reactor, FIRST) == ""
    finally:
        del os.environ["SECRET"]
    said = (tmp_path / "said").read_text()
    assert said.startswith("a._domainkey.example.org|v=DKIM1; p=$(id) `id` '\"||")
    assert "SECRET" not in said


@pytest_twisted.ensureDeferred
async def test_how_it_ends(tmp_path: Path) -> None:
    for text, why in (
        ("exit 0", ""),
        ("echo no such zone >&2; exit 3", "ended with status 3: no such zone"),
        ("kill -9 $$", "was killed by SIGKILL"),
    ):
        path = program(tmp_path, text)
        assert await done_by([path, "n", "v"], 10.0, reactor, FIRST) == (f"{path} {why}" if why else "")


@pytest_twisted.ensureDeferred
async def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = program(tmp_path, "exec sleep 600")
    assert await done_by([path], 0.1, reactor, FIRST) == f"{path} was ended: it took longer than 0.1 s"


@pytest_twisted.ensureDeferred
async def test_one_that_is_not_there() -> None:
    assert "missing, or this user may not run it" in await done_by(["/none"], 1.0, reactor, FIRST)
