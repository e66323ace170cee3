"""``[aliases]``: its file, its faults with their lines, and what will be regretted."""

from pathlib import Path

from mailgw.config.aliases import alias_table
from mailgw.config.doubts import doubts
from mailgw.config.load import load
from mailgw.queue.aliases import AliasLimits
from mailgw.queue.tags import TagRules
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each

STAR = '[[route]]\nrecipients = ["*"]\nbackend = "out"\n[backend.out]\ntype = "smtp"\n'
ACCOUNTS = '[accounts]\npasswd_file = "passwd"\n'


def configured(folder: Path, aliases: str | None, table: str = 'file = "aliases"', more: str = STAR) -> Path:
    """``SMALL`` ends with line 13, ``STAR`` has five more."""
    file = folder / "mailgw.toml"
    file.write_text(f"{SMALL}{more}[aliases]\n{table}\n")
    if aliases is not None:
        (folder / "aliases").write_text(aliases)
    return file


def test_without_any_nobody_is_one(tmp_path: Path) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(SMALL)
    config = loaded(file)
    assert (config.aliases.file, alias_table(config)) == (None, None)


def test_a_good_one(tmp_path: Path) -> None:
    config = loaded(configured(tmp_path, "sales@example.org ann@example.org, far@else.test\n"))
    assert config.aliases.file == f"{tmp_path}/aliases"
    assert config.aliases.limits == AliasLimits(depth=20, recipients=1000)
    assert config.aliases.tags == TagRules("+", True)
    table = alias_table(config)
    assert table is not None
    assert list(table.entries) == ["sales@example.org"]


def test_its_limits(tmp_path: Path) -> None:
    table = 'file = "aliases"\ndepth = 1\nrecipients = 2'
    assert loaded(configured(tmp_path, "a@example.org b@else.test, c@else.test\n", table)).aliases.limits == (
        AliasLimits(depth=1, recipients=2)
    )
    deep = "e@example.org f@example.org\nf@example.org g@x.test\n"
    assert faults_of(configured(
        tmp_path, f"a@example.org b@else.test, c@else.test, d@else.test\n{deep}", table,
    )) == [
        "aliases:1: a@example.org comes to more than 2 addresses (recipients)",
        "aliases:2: e@example.org goes through more than 1 entries (depth): e@example.org -> f@example.org ...",
    ]


@each(
    ("table", "aliases", "faults"),
    [
        ("", None, ["mailgw.toml:19: aliases.file: is missing"]),
        ('file = "none"', None, ["mailgw.toml:20: aliases.file: none: cannot be read: No such file or directory"]),
        ('fiel = "aliases"', "", [
            "mailgw.toml:20: aliases.fiel: unknown key; did you mean 'file'?",
            "mailgw.toml:19: aliases.file: is missing",
        ]),
        ('file = "aliases"\ndepth = 0', "", ["mailgw.toml:21: aliases.depth: expected a whole number from 1, not 0"]),
        ('file = "aliases"\nrecipients = "many"', "a b\n", [
            "mailgw.toml:21: aliases.recipients: expected a whole number from 1, not 'many'",
            "aliases:1: expected an address user@domain, or @domain, found 'a'",
            "aliases:1: a: expected whole addresses user@domain, found 'b'",
        ]),
        ('file = "aliases"', "a@else.test b@example.org\nc@example.org c\n", [
            "aliases:1: a@else.test: expected an address that a [[route]] names, or its domain",
            "aliases:2: c@example.org: expected whole addresses user@domain, found 'c'",
        ]),
    ],
)
def test_faults(tmp_path: Path, table: str, aliases: str | None, faults: list[str]) -> None:
    assert sorted(faults_of(configured(tmp_path, aliases, table))) == sorted(faults)


def test_a_target_needs_a_route(tmp_path: Path) -> None:
    assert faults_of(configured(tmp_path, "a@example.org b@else.test\n", more="")) == [
        "aliases:1: a@example.org: no [[route]] takes b@else.test"
    ]


def test_wrong_routes_are_one_mistake(tmp_path: Path) -> None:
    file = configured(tmp_path, "a@example.org b@else.test\nb@else.test c\n")
    file.write_text(file.read_text().replace('"@example.org"', '"example.org"'))
    assert [fault.partition(" ")[0] for fault in faults_of(file)] == ["mailgw.toml:8:", "aliases:2:"]


def test_a_backend_has_no_name_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(SMALL + '[backend."(expanded)"]\ntype = "smtp"\n')
    assert faults_of(file) == [
        "mailgw.toml:14: backend.(expanded): is a name of mailgw's own: choose another one"
    ]


# What begins with an empty line keeps its lines' numbers.
POSTMASTER = "postmaster = 'postmaster@example.org'"


def said(file: Path) -> list[str]:
    return [str(one).replace(f"{file.parent}/", "") for one in doubts(load(str(file)))]


def test_what_will_be_regretted(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("ann@example.org:*\n")
    file = configured(
        tmp_path,
        "sales@example.org ann@example.org, bob@example.org\n"
        "team@example.org sales@example.org, ann+tag@example.org, far@else.test, postmaster@example.org\n"
        "carl@example.org\tann@example.org,\n\tcarl@example.org\n",
        more=STAR + ACCOUNTS,
    )
    file.write_text(POSTMASTER + file.read_text().replace('recipients = "any"\n', ""))
    assert said(file) == [
        "aliases:1: sales@example.org: bob@example.org has no account here: what is sent on to it comes back",
        "aliases:3: carl@example.org: carl@example.org has no account here: what is sent on to it comes back",
    ]
    (tmp_path / "aliases").write_text("sales@example.org bob@example.org\n@example.org ann@example.org\n")
    assert said(file) == [], "the catch-all has it"
    (tmp_path / "aliases").write_text("@example.org bob@example.org\n")
    assert said(file) == [
        "aliases:1: @example.org: bob@example.org has no account here: what is sent on to it comes back"
    ]


def test_answers_to_an_alias_are_not_lost(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("ann@example.org:*\n")
    more = STAR + ACCOUNTS + '[reports]\nfrom_address = "help@example.org"\n'
    file = configured(tmp_path, "help@example.org ann@example.org\n", more=more)
    file.write_text(POSTMASTER + file.read_text().replace('recipients = "any"\n', ""))
    assert said(file) == []
    (tmp_path / "aliases").write_text("")
    assert said(file) == [
        "mailgw.toml:21: reports.from_address: help@example.org has no account here: answers to it are refused"
    ]


def test_a_catch_all_that_is_for_nobody(tmp_path: Path) -> None:
    file = configured(tmp_path, "@example.org ann@example.org\n@mx.test ann@example.org\n")
    file.write_text(file.read_text().replace('["*"]', '["@mx.test", "*"]') + "[trust]\nquarantine = 'hold'\n")
    assert said(file) == [
        "aliases:1: @example.org is for nobody: whoever is in that domain, [backend.mailboxes] takes him before",
        "aliases:2: @mx.test is for nobody: whoever is in that domain, [backend.out] takes him before",
    ]
