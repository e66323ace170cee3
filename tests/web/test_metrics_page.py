"""docs/metrics.rst has every metric there is, and no other; docs/alerts.yml asks for none that there is not."""

import re
from pathlib import Path

from mailgw.web.metrics import names
from mailgw.web.tallies import DIRECTIONS

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_every_metric_is_listed() -> None:
    terms = re.findall(r"^(``mailgw_\w+``(?:, ``mailgw_\w+``)*)$", (DOCS / "metrics.rst").read_text(), re.M)
    listed = [name for term in terms for name in re.findall(r"mailgw_\w+", term)]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(names())


def test_every_label_is_told_of() -> None:
    text = (DOCS / "metrics.rst").read_text()
    entries = dict(re.findall(r"^(``mailgw_.*)\n((?:    .*\n)+)", text, re.M))
    for name, (_, labels) in names().items():
        [words] = [told for term, told in entries.items() if f"``{name}``" in term]
        for label in labels:
            assert f"``{label}``" in words, (name, label)


def test_alerts_ask_for_what_there_is() -> None:
    asked = set(re.findall(r"\bmailgw_\w+", (DOCS / "alerts.yml").read_text()))
    assert asked
    assert {name.removesuffix("_bucket") for name in asked} <= set(names())


def test_the_page_for_people_tells_of_what_top_shows() -> None:
    text = (DOCS / "watching.rst").read_text()
    for name in DIRECTIONS:
        assert ("sessions" if name == "connected" else name) in text
