"""Whom a program may become: somebody who can read its modules."""

import os
from pathlib import Path

from mailgw.config.files import python_fault

NOBODY = (65534, 65534)


def test_python_where_its_user_cannot_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "python"
    folder.mkdir(mode=0)
    fault = python_fault(NOBODY, ["/", str(folder)])
    assert fault is not None
    assert f"as whom mailgw will run, may not read Python in {folder};" in fault
    assert fault.startswith("user ")
    assert fault.endswith("for instance /opt/mailgw")


def test_python_that_everybody_reads() -> None:
    before = os.geteuid(), os.getegid(), os.getgroups()
    assert python_fault(NOBODY, ["/", "/usr"]) is None
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
