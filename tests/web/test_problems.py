"""What a client is told of trouble."""

from mailgw.mail.errors import TemporaryFault
from mailgw.web.problems import problem_of
from tests.tables import each


@each(("why", "told"), [
    ("/var/lib/mailgw/control-0.sock: a worker does not answer (ConnectionDone)",
     "control-0.sock: a worker does not answer (ConnectionDone)"),
    ("/srv/my mail/sent.sqlite: file is not a database", "sent.sqlite: file is not a database"),
    ("[Errno 2] No such file or directory: '/var/lib/mailgw/x'", "[Errno 2] No such file or directory: 'x'"),
    ("/state: Permission denied", "state: Permission denied"), ("spool: OSError: (/a/b, /c/d)", "spool: OSError: (d)"),
    ("no worker answers just now: try again", "no worker answers just now: try again"),
    ("https://a.example/b/c answers 500 and/or 1/2", "https://a.example/b/c answers 500 and/or 1/2"),
    ("out/example.net is ~/x", "out/example.net is ~/x"), ("", ""),
])
def test_no_path_of_the_server_is_told(why: str, told: str) -> None:
    problem = problem_of(TemporaryFault(why))
    assert problem is not None
    assert (problem.status, problem.detail) == (503, told)
