"""What stands in a request's target."""

from mailgw.web.routing import query_of
from tests.tables import each


@each(("words", "value"), [
    ("to=x+451@example.com", "x+451@example.com"), ("to=x%2B451%40example.com", "x+451@example.com"),
    ("to=x+451%40example.com", "x+451@example.com"), ("recipient=a+b+c@example.com", "a+b+c@example.com"),
    ("to=Ann+Lee+<ann@example.com>", "Ann Lee <ann@example.com>"),
    ("to=Ann+%3Cann@example.com%3E", "Ann <ann@example.com>"),
    ('to="a+b"@example.com', '"a b"@example.com'), ("to=%22a+b%22@example.com", '"a b"@example.com'),
    ("to=ann+lee", "ann lee"), ("search=x+451@example.com", "x 451@example.com"), ("to=+@", " @"),
])
def test_a_plus_is_a_space_but_in_an_address(words: str, value: str) -> None:
    assert [*query_of(words).values()] == [[value]]
