"""``[srs]``: what it comes to, and its faults."""

from pathlib import Path

from mailgw.mail.srs import SrsSettings
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each


def configured(folder: Path, table: str) -> Path:
    (folder / "secret").write_text("one\ntwo\n")
    (folder / "empty").write_text("\n")
    file = folder / "mailgw.toml"
    file.write_text(f"{SMALL}[srs]\n{table}\n")
    return file


def test_a_good_one(tmp_path: Path) -> None:
    config = loaded(configured(tmp_path, 'domain = "SRS.example.org"\nsecret_file = "secret"'))
    assert (config.srs, config.srs_file) == (SrsSettings("srs.example.org", (b"one", b"two"), 8), f"{tmp_path}/secret")
    (tmp_path / "mailgw.toml").write_text(SMALL)
    config = loaded(tmp_path / "mailgw.toml")
    assert (config.srs, config.srs_file) == (None, None)


@each(("table", "faults"), [
    ("", ["14: srs.domain: is missing", "14: srs.secret_file: is missing"]),
    ('domain = "[192.0.2.1]"\nsecret_file = "secret"', [
        "15: srs.domain: expected a domain, which mail comes back to by its MX",
    ]),
    ('domain = "srs.example.org"\nsecret_file = "none"', [
        "16: srs.secret_file: none: cannot be read: No such file or directory",
    ]),
    ('domain = "srs.example.org"\nsecret_file = "empty"', [
        "16: srs.secret_file: empty: expected a secret in its first line",
    ]),
    *[
        (f'domain = "srs.example.org"\nsecret_file = "secret"\nhash_length = {length}', faults)
        for length, faults in (
            (3, ["17: srs.hash_length: expected a number from 4 to 26, not 3"]), (4, []), (26, []),
            (27, ["17: srs.hash_length: expected a number from 4 to 26, not 27"]),
        )
    ],
])
def test_faults(tmp_path: Path, table: str, faults: list[str]) -> None:
    assert faults_of(configured(tmp_path, table)) == [f"mailgw.toml:{fault}" for fault in faults]
