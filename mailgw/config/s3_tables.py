"""``[backend.NAME]`` of type s3: its shape, and what stands against it."""

import importlib.util
import os

import attrs

from mailgw.config import values
from mailgw.config.reader import Table
from mailgw.config.reader import key as setting
from mailgw.config.webhook_tables import check_plain_http, first_line, usable_ca_file
from mailgw.deliver.s3_settings import S3Settings, key_fault


def object_key(value: object) -> str:
    word = values.text(value)
    if why := key_fault(word):
        raise ValueError(f"{why}: {values.said(value)}")
    return word


@attrs.frozen
class S3Table(Table):
    bucket: str = setting(values.text, stand_in="")
    key: str = setting(object_key, "{date}/{queue_id}/{recipient}")
    endpoint: str | None = setting(values.http_url, None)
    plain_http: bool = setting(values.truth, False)
    region: str | None = setting(values.text, None)
    access_key_id: str | None = setting(values.text, None)
    secret_file: str | None = setting(values.text, None)
    ca_file: str | None = setting(values.text, None)
    concurrency: int = setting(values.count, 8)
    connect_timeout: float = setting(values.duration, 15.0)
    answer_timeout: float = setting(values.duration, 60.0)


def s3(table: S3Table, folder: str) -> S3Settings:
    """``folder`` is the file's own."""
    if importlib.util.find_spec("boto3") is None:
        table.spot.inner("type").fault("needs boto3, which is not installed: pip install mailgw[s3]")
    if table.endpoint is not None:
        check_plain_http(table, "endpoint", table.endpoint, table.plain_http)
    elif table.plain_http:
        table.spot.inner("plain_http").fault("is for an http: endpoint")
    if (table.access_key_id is None) != (table.secret_file is None):
        words = ("access_key_id", "secret_file")
        given, lacking = words if table.secret_file is None else words[::-1]
        table.spot.inner(given).fault(f"needs {lacking}, too")
    secret = secret_file = None
    if table.secret_file is not None:
        secret_file = os.path.join(folder, table.secret_file)
        secret = first_line(table.spot.inner("secret_file"), secret_file, 1)
    ca_file = None
    if table.ca_file is not None:
        ca_file = usable_ca_file(table.spot.inner("ca_file"), os.path.join(folder, table.ca_file))
    return S3Settings(
        bucket=table.bucket,
        key=table.key,
        endpoint=table.endpoint,
        region=table.region,
        access_key_id=table.access_key_id,
        secret=secret,
        secret_file=secret_file,
        ca_file=ca_file,
        concurrency=table.concurrency,
        connect_seconds=table.connect_timeout,
        answer_seconds=table.answer_timeout,
    )
