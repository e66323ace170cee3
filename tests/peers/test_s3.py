"""An object store by moto's server and boto3 itself: what is stored, and a store that goes away and comes back empty.

Where they are not installed (``pip install boto3 'moto[s3,server]'``) it is skipped.  ``MAILGW_MOTO`` is the Python
that has moto, where that is another one: it brings a hundred packages.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers.harness import Lab, Running, free_port, letter, route, submit, wait_until

boto3 = pytest.importorskip("boto3")
MOTO = os.environ.get("MAILGW_MOTO", sys.executable)
if subprocess.run([MOTO, "-c", "import moto.server"], capture_output=True, check=False).returncode:
    pytest.skip(f"{MOTO} has no moto.server", allow_module_level=True)
pytestmark = pytest.mark.peer

LARGE = letter("large", ("x" * 76 + "\r\n") * 20_000)


class Store(Running):
    def __init__(self, folder: Path) -> None:
        super().__init__("moto", folder)
        self.port = free_port()

    def start(self) -> "Store":
        program = [MOTO, "-c", "from moto.server import main; main()"]
        self.launch([*program, "-H", "127.0.0.1", "-p", str(self.port)], self.log.parent, [self.port])
        return self

    @property
    def client(self) -> Any:
        return boto3.session.Session().client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1", aws_access_key_id="me",
            aws_secret_access_key="hush",
        )


def test_objects_are_stored_and_a_store_that_comes_back(lab: Lab) -> None:
    store = lab.own(Store(lab.folder)).start()
    client = store.client
    client.create_bucket(Bucket="mail")
    (lab.folder / "word").write_text("hush\n")
    backend = (
        '[backend.objects]\ntype = "s3"\nbucket = "mail"\nkey = "{queue_id}/{recipient}"\nregion = "us-east-1"\n'
        f'endpoint = "http://127.0.0.1:{store.port}"\naccess_key_id = "me"\nsecret_file = "{lab.folder}/word"\n'
    )
    gateway = lab.mx(route("@home.test", "objects"), backend, '[retry]\nschedule = ["0.3s"]\njitter = 0.0').start()
    submit(gateway.port, "ann@away.test", "b/ob@home.test", letter("for bob"))
    submit(gateway.port, "ann@away.test", "bob@home.test", LARGE)
    wait_until(lambda: len(gateway.facts("delivered")) == 2, 30, "both are stored")
    listed = client.list_objects(Bucket="mail")["Contents"]
    objects = [client.get_object(Bucket="mail", Key=one["Key"]) for one in listed]
    assert sorted(one["Metadata"]["recipients"] for one in objects) == ["b/ob@home.test", "bob@home.test"]
    assert {one["ContentType"] for one in objects} == {"message/rfc822"}
    bodies = sorted((one["Body"].read() for one in objects), key=len)
    assert (b"Subject: for bob" in bodies[0], bodies[1].endswith(LARGE)) == (True, True)

    store.kill()
    submit(gateway.port, "ann@away.test", "bob@home.test", letter("later"))
    wait_until(lambda: gateway.facts("deferred"), 30, "it waits")
    store.start()
    wait_until(lambda: "NoSuchBucket" in str(gateway.facts("deferred")), 30, "there is no bucket")
    client.create_bucket(Bucket="mail")
    wait_until(lambda: len(gateway.facts("delivered")) == 3, 30, "it is stored")
    assert "hush" not in gateway.words() + (gateway.folder / "journal.jsonl").read_text()
