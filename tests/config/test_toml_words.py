"""What beginners of TOML write, and what they are told."""

from pathlib import Path

from mailgw.config.toml_words import ARRAYS, ARRAYS_OF_BACKENDS
from tests.config.making import SMALL, faults_of
from tests.tables import each

NEWLINE = "Expected newline or end of document after a statement"


@each(
    ("text", "fault"),
    [
        ("state = state\n", '1: not TOML: Invalid value; text needs quotes: state = "state"'),
        ("state = /var/mailgw  # here\n", '1: not TOML: Invalid value; text needs quotes: state = "/var/mailgw"'),
        ("a = 1\nb = 50 MiB\n", f'2: not TOML: {NEWLINE}; text needs quotes: b = "50 MiB"'),
        ("a = 50MiB", f'1: not TOML: {NEWLINE}; text needs quotes: a = "50MiB"'),
        ("a = 10.0.0.1\n", f'1: not TOML: {NEWLINE}; text needs quotes: a = "10.0.0.1"'),
        ("a = tcp:25\n", '1: not TOML: Invalid value; text needs quotes: a = "tcp:25"'),
        ("a = [x, y]\n", "1: not TOML: Invalid value; text needs quotes"),
        ("a = [\n  @x.example,\n]\n", "2: not TOML: Invalid value; text needs quotes"),
        ('a = "x" y\n', f"1: not TOML: {NEWLINE}"),
        ("a = yes\n", "1: not TOML: Invalid value; write a = true"),
        ("a = False\n", "1: not TOML: Invalid value; write a = false"),
        ("a =\n", "1: not TOML: Invalid value; a value is missing: a = …"),
        ("a = # later\n", "1: not TOML: Invalid value; a value is missing: a = …"),
        ("a = 025\n", f"1: not TOML: {NEWLINE}; a number does not begin with 0"),
        ("[route]\n[route]\n", "2: not TOML: Cannot declare ('route',) twice; write [[route]], each time"),
        ("[route]\n[[route]]\n", "2: not TOML: Cannot overwrite a value; write [[route]], each time"),
        ("[[listen]]\n[listen]\n", "2: not TOML: Cannot declare ('listen',) twice; write [[listen]], each time"),
        (
            "[backend.a.host]\n[backend.a.host]\n",
            "2: not TOML: Cannot declare ('backend', 'a', 'host') twice; write [[backend.a.host]], each time",
        ),
        ("[backend.a]\n[backend.a]\n", "2: not TOML: Cannot declare ('backend', 'a') twice"),
        ("[dns]\n[[dns]]\n", "2: not TOML: Cannot overwrite a value"),
        ("a = 1\na = 2\n", "2: not TOML: Cannot overwrite a value"),
    ],
)
def test_hints(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    assert faults_of(file) == [f"a.toml:{fault}"]


def test_what_is_called_an_array_is_one(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    for name in (*ARRAYS, *(f"backend.b.{one}" for one in ARRAYS_OF_BACKENDS)):
        backend = "" if name in ARRAYS else '[backend.b]\ntype = "smtp"\n'
        file.write_text(f'hostname = "mx1.example.org"\nstate = "state"\n{backend}[{name}]\n')
        assert any(f"{name}: expected [[{name}]], once for each, not [{name}]" in one for one in faults_of(file)), name


@each(
    ("more", "faults"),
    [
        ("workers = 2\n", ["14: backend.mailboxes.workers: unknown key here: workers belongs above the first [table]"]),
        (
            "[tls]\npostmaster = 'a@example.org'\ncertificate = 'no'\nprivate_key = 'no'\n",
            ["15: tls.postmaster: unknown key here: postmaster belongs above the first [table]"],
        ),
        (
            "[limits]\ntrusted_clients = ['::1']\n",
            ["15: limits.trusted_clients: unknown key here: trusted_clients belongs above the first [table]"],
        ),
        ("[limits.dns]\nservers = []\n", ["14: limits.dns: unknown key"]),
        ("[limits]\nworker = 2\n", ["15: limits.worker: unknown key"]),
    ],
)
def test_a_key_behind_a_table(tmp_path: Path, more: str, faults: list[str]) -> None:
    file = tmp_path / "a.toml"
    file.write_text(SMALL + more)
    assert [one for one in faults_of(file) if "unknown key" in one] == [f"a.toml:{one}" for one in faults]
