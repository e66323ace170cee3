"""HTML that strangers wrote, made harmless, to be shown in a frame that may do nothing; and what it links to.

Written anew from its tags, not cut: what is not listed here does not come out.  Scripts, forms, frames, ``base``,
``meta``, ``link``, ``object``, SVG and MathML go, with what only they mean; of style sheets all that loads anything.
Nothing remote is left: images of others' servers are counted and named, those within the message are put in.

``nh3`` (ammonia) was tried and left: it builds a tree, in time that grows with the square of its depth (100,000 times
``<div>``, 500 KB: 179 s), and HTML's own rules for misnested tags make far more elements of a few.  Here no tree is
built, and time grows with the length alone.  The frame's own Content-Security-Policy is there besides.

Rules:
    Text comes out with all of its "<", ">" and "&" escaped, and no element that reads text in another way comes out.
    Every element is closed in its order; at most ``MAX_DEPTH`` are open.
"""

import re
from collections.abc import Callable, Mapping
from html import escape, unescape
from typing import Final

import attrs

MAX_CHARACTERS: Final = 1 << 20
"""Of the HTML; what follows is not shown."""
MAX_TAGS: Final = 100_000
MAX_DEPTH: Final = 200
"""Browsers stop at 512 themselves."""
MAX_ATTRIBUTES: Final = 100
MAX_VALUE: Final = 8192
"""Characters of a value; a longer one goes.  Images in the HTML itself may have ``MAX_DATA``."""
MAX_DATA: Final = 512 * 1024
MAX_STYLES: Final = 256 * 1024
MAX_LINKS: Final = 500
MAX_LINK_TEXT: Final = 200
MAX_NAMED: Final = 100
"""Of what is remote so many are named; all are counted."""

_SHARED: Final = frozenset({
    "style", "align", "valign", "bgcolor", "width", "height", "dir", "lang", "title", "color", "class", "id",
})
_TAGS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys((
        "p", "div", "span", "b", "i", "u", "s", "em", "strong", "small", "big", "sub", "sup", "code", "pre", "tt",
        "kbd", "samp", "var", "abbr", "address", "article", "aside", "section", "header", "footer", "main", "nav",
        "center",
        "blockquote", "q", "cite", "del", "ins", "dfn", "dl", "dt", "dd", "ul", "h1", "h2", "h3", "h4", "h5", "h6",
        "figure", "figcaption", "mark", "strike", "thead", "tbody", "tfoot", "tr", "caption", "bdo", "bdi", "br", "wbr",
    ), frozenset[str]()),
    "a": frozenset({"href"}), "img": frozenset({"src", "alt", "border"}), "font": frozenset({"face", "size"}),
    "ol": frozenset({"start", "type"}), "li": frozenset({"value", "type"}), "hr": frozenset({"size", "noshade"}),
    "table": frozenset({"border", "cellpadding", "cellspacing", "summary"}), "col": frozenset({"span"}),
    "colgroup": frozenset({"span"}), "td": frozenset({"colspan", "rowspan", "nowrap"}),
    "th": frozenset({"colspan", "rowspan", "nowrap", "scope"}),
}
_VOID: Final = frozenset({"br", "wbr", "hr", "img", "col"})
# What stands in these is none of the text.
_SKIPPED: Final = frozenset({
    "script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "template", "svg", "math", "select",
})
_CLOSES_ITSELF: Final = frozenset({"p", "li", "tr", "td", "th", "dt", "dd"})
_TABLE: Final = frozenset({"table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption", "colgroup"})
_SCOPES: Final = frozenset({"table", "td", "th", "caption"})

# Nothing here backs up; a quote without its end is looked for once.
_NAME = re.compile(r"[A-Za-z][^\s/>\x00]*+")
_ATTRIBUTE = re.compile(r"[\s/]*+([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]++)))?+")
_TAG_END = re.compile(r"[\s/]*+>")
_ENDS: Final = {name: re.compile(rf"</{name}(?=[\s/>])[^>]*+>?", re.IGNORECASE) for name in _SKIPPED}
_LINK = re.compile(r"(?:https?://|mailto:|tel:)[^\x00-\x20]++\Z", re.IGNORECASE)  # of what is stripped
_CID = re.compile(r"\s*cid:(.+)\Z", re.IGNORECASE | re.DOTALL)
_DATA = re.compile(r"\s*data:image/(?:png|jpe?g|gif|webp|bmp|avif);base64,[A-Za-z0-9+/=\s]*\Z", re.IGNORECASE)
_REMOTE = re.compile(r"\s*(?:https?:|ftp:|//)", re.IGNORECASE)

# What loads anything in a style sheet, or ran something in old browsers.  A "\" may spell any letter: it goes first.
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_CSS_URL = re.compile(r"url\s*\(\s*[\"']?\s*([^\"')\s]{0,300})", re.IGNORECASE)
_CSS_IMPORT = re.compile(r"@\s*(?:import|charset|namespace)[^;{}]*;?", re.IGNORECASE)
_CSS_IMPORTED = re.compile(r"import\s*[\"']?\s*([^;{}\"')\s]{0,300})", re.IGNORECASE)
_CSS_LOADS = re.compile(r"(?:url|src|image|image-set|-webkit-image-set|cross-fade|element|expression)\s*\(", re.I)
_CSS_RUNS = re.compile(r"(?:-moz-binding|behavior|javascript|vbscript)\s*:", re.IGNORECASE)
_CSS_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f<>\\]")

# "int" takes 4300 digits.
_LONG_NUMBER = re.compile(r"&#([0-9]{20,}+)")
_URL_IN_TEXT = re.compile(r"https?://[^\s<>\"'`]{1,2000}", re.IGNORECASE)
# A text that says where it leads: a URL, or a name of a host with or without a path.
_SAYS_HOST = re.compile(r"(?:(https?)://)?((?:[\w-]+\.)+([A-Za-z][\w-]+))(?::\d+)?(?:[/?#]\S*)?\Z", re.IGNORECASE)
_HOST = re.compile(r"https?://(?:[^/?#@\s]*@)?(\[[^\]/?#]*\]|[^/?#:\s]*)", re.IGNORECASE)
_FILE_ENDS: Final = frozenset({"pdf", "doc", "docx", "xls", "xlsx", "txt", "html", "htm", "zip", "png", "jpg", "csv"})


@attrs.frozen
class Link:
    """``is_mismatch``: the text names a host, and it leads to another one."""

    text: str
    target: str
    is_mismatch: bool


@attrs.frozen
class ShownHtml:
    """``document`` is whole HTML; ``remote`` are the first of what it would load from others, ``remote_count`` all of
    it; ``is_cut``: it went on beyond a limit."""

    document: str
    links: tuple[Link, ...]
    remote: tuple[str, ...]
    remote_count: int
    is_cut: bool


def shown_html(html: str, source_of: Callable[[str], str | None]) -> ShownHtml:
    """``source_of`` gives what an image has as its source, of the Content-ID that it names; None: none."""
    return _Writer(html, source_of).written()


def text_of(html: str, most: int) -> str:
    """Its text alone, at most so many characters of it, for who looks for words in it."""
    cleaned = shown_html(html[:4 * most], lambda content_id: None).document
    body = cleaned.partition("<body>")[2]
    return " ".join(_unescaped(re.sub(r"<[^>]*+>", " ", body)).split())[:most]


def links_in(text: str) -> tuple[Link, ...]:
    """URLs in plain text, each once."""
    found = dict.fromkeys(one[0].rstrip(".,;:!?)]}") for one in _URL_IN_TEXT.finditer(text[:MAX_CHARACTERS]))
    return tuple(Link(one[:MAX_LINK_TEXT], one, False) for one in list(found)[:MAX_LINKS])


def is_misleading(text: str, target: str) -> bool:
    """Whether the text of a link names a host, and ``target`` is at another one."""
    said, there = _SAYS_HOST.match(text.strip()), _HOST.match(target)
    if said is None or there is None or (said[1] is None and said[3].lower() in _FILE_ENDS):
        return False
    shown, real = (host.lower().removeprefix("www.").rstrip(".") for host in (said[2], there[1]))
    return not (shown == real or real.endswith(f".{shown}"))


class _Writer:
    def __init__(self, html: str, source_of: Callable[[str], str | None]) -> None:
        self._html = html[:MAX_CHARACTERS]
        self._is_cut = len(html) > MAX_CHARACTERS
        self._source_of = source_of
        self._out: list[str] = []
        self._open: list[str] = []
        self._places: dict[str, list[int]] = {}  # of each tag in those
        self._scopes: list[int] = []  # the places of those that end tags do not look beyond
        self._styles: list[str] = []
        self._style_characters = 0
        self._links: list[Link] = []
        self._target: str | None = None  # of the link that is open
        self._words: list[str] = []
        self._remote: dict[str, None] = {}
        self._remote_count = 0

    def written(self) -> ShownHtml:
        html, at, tags = self._html, 0, 0
        while at < len(html):
            start = html.find("<", at)
            if start < 0 or tags >= MAX_TAGS:
                self._is_cut = self._is_cut or start >= 0
                start = len(html) if start < 0 else start
                self._text(html[at:start])
                break
            self._text(html[at:start])
            at = self._markup(start)
            tags += 1
        self._close_down_to(0)
        css = "\n".join(self._styles).replace("<", "")
        style = f"<style>{css}</style>" if css else ""
        document = (
            '<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f"<title>Message</title>{style}</head><body>{''.join(self._out)}</body></html>"
        )
        return ShownHtml(document, tuple(self._links), tuple(self._remote), self._remote_count, self._is_cut)

    def _text(self, text: str) -> None:
        if text:
            plain = _visible(_unescaped(text))
            self._out.append(escape(plain, quote=False))
            if self._target is not None and len(self._words) < MAX_LINK_TEXT:
                self._words.append(plain[:MAX_LINK_TEXT])

    def _markup(self, start: int) -> int:
        """What begins with the "<" there; where it ends."""
        html = self._html
        if html.startswith("<!--", start):
            end = html.find("-->", start + 2)
            return len(html) if end < 0 else end + 3
        is_end = html.startswith("</", start)
        name = _NAME.match(html, start + 1 + is_end)
        if name is None:
            if html[start + 1:start + 2] in ("!", "?", "/"):
                end = html.find(">", start)
                return len(html) if end < 0 else end + 1
            self._text("<")
            return start + 1
        tag, at = name[0].lower(), name.end()
        given: dict[str, str] = {}
        while (found := _ATTRIBUTE.match(html, at)) is not None:
            at = found.end()
            if len(given) < MAX_ATTRIBUTES:
                value = next((one for one in found.groups()[1:] if one is not None), "")
                given.setdefault(found[1].lower(), value)
        end_of_tag = _TAG_END.match(html, at)
        if end_of_tag is None:
            return max(at, len(html) if html.find(">", at) < 0 else html.find(">", at) + 1)
        at = end_of_tag.end()
        if is_end:
            self._end(tag)
        elif tag in _SKIPPED:
            return self._skip(tag, at)
        else:
            self._begin(tag, given)
        return at

    def _skip(self, tag: str, at: int) -> int:
        end = _ENDS[tag].search(self._html, at)
        stop = len(self._html) if end is None else end.start()
        if tag == "style":
            css = self._html[at:min(stop, at + MAX_STYLES - self._style_characters)]
            self._style_characters += len(css)
            self._styles.append(self._css(css))
        return stop if end is None else end.end()

    def _begin(self, tag: str, given: Mapping[str, str]) -> None:
        for key in ("src", "background", "srcset", "poster", "data"):
            if key in given and (tag != "img" or key != "src"):
                self._note_remote(_unescaped(given[key][:MAX_VALUE]))
        if tag == "body":
            tag = "div"  # its colours are the page's
        allowed = _TAGS.get(tag)
        if allowed is None:
            return
        if tag in _CLOSES_ITSELF and self._open and self._open[-1] == tag:
            self._close_down_to(len(self._open) - 1)
        if tag not in _VOID and len(self._open) >= MAX_DEPTH:
            return
        words, href = [tag], None
        for key, raw in given.items():
            if key in allowed or key in _SHARED:
                value = self._value(tag, key, raw)
                if value is not None:
                    words.append(f'{key}="{escape(value)}"')
                    href = value if key == "href" else href
        if tag == "a":
            self._end("a")
            words.append('rel="noopener noreferrer nofollow" target="_blank"')
            self._target, self._words = href, []
        self._out.append(f"<{' '.join(words)}>")
        if tag not in _VOID:
            self._places.setdefault(tag, []).append(len(self._open))
            if tag in _SCOPES:
                self._scopes.append(len(self._open))
            self._open.append(tag)

    def _value(self, tag: str, key: str, raw: str) -> str | None:
        """What an attribute is to be; None: it goes."""
        if len(raw) > (MAX_DATA if key == "src" else MAX_VALUE):
            return None
        value = _unescaped(raw)
        if key == "style":
            return self._css(value)
        if key == "href":
            value = value.strip()
            return value if _LINK.match(value) else None
        if key == "src":
            if (found := _CID.match(value)) is not None:
                return self._source_of(found[1].strip())
            if _DATA.match(value):
                return "".join(value.split())
            self._note_remote(value)
            return None
        return _visible(value)

    def _end(self, tag: str) -> None:
        tag = "div" if tag == "body" else tag
        places = self._places.get(tag)
        if places and (tag in _TABLE or not self._scopes or self._scopes[-1] <= places[-1]):
            self._close_down_to(places[-1])

    def _close_down_to(self, depth: int) -> None:
        while len(self._open) > depth:
            tag = self._open.pop()
            self._places[tag].pop()
            if tag in _SCOPES:
                self._scopes.pop()
            self._out.append(f"</{tag}>")
            if tag == "a" and self._target is not None:
                text = " ".join("".join(self._words).split())[:MAX_LINK_TEXT]
                if len(self._links) < MAX_LINKS:
                    self._links.append(Link(text, self._target, is_misleading(text, self._target)))
                self._target = None

    def _css(self, css: str) -> str:
        """Without what loads or runs anything."""
        css = _CSS_CONTROLS.sub("", _CSS_COMMENT.sub(" ", css))
        for found in (*_CSS_URL.finditer(css), *_CSS_IMPORTED.finditer(css)):
            self._note_remote(found[1])
        css = _CSS_IMPORT.sub("/*gone*/", css)  # or what is before it would join what is behind it
        return _CSS_RUNS.sub("gone:", _CSS_LOADS.sub("gone(", css))

    def _note_remote(self, place: str) -> None:
        if _REMOTE.match(place):
            self._remote_count += 1
            if len(self._remote) < MAX_NAMED:
                self._remote.setdefault(_visible(place.strip())[:300])


def _unescaped(text: str) -> str:
    """As HTML has it: a number that is beyond all characters is U+FFFD, of however many digits."""
    if "&#" not in text:
        return unescape(text)
    return unescape(_LONG_NUMBER.sub(lambda one: f"&#{one[1].lstrip('0')[:20] or 0}", text))


def _visible(text: str) -> str:
    """Without what cannot stand in HTML: controls but for white space, and halves of characters."""
    if text.isprintable():
        return text
    return "".join([c for c in text if c in "\n\t\r" or not ("\x00" <= c < " " or "\x7f" <= c < "\xa0"
                                                             or "\ud800" <= c <= "\udfff")])
