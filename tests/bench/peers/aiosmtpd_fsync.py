"""aiosmtpd, with one fsync a message: ``aiosmtpd_fsync.py PORT FOLDER [thread]``."""

import asyncio
import itertools
import os
import sys

from aiosmtpd.smtp import SMTP

port, folder, is_in_thread = int(sys.argv[1]), sys.argv[2], "thread" in sys.argv[3:]
numbers = itertools.count()


def keep(octets):
    with open(os.path.join(folder, str(next(numbers))), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


class Anything:
    async def handle_DATA(self, server, session, envelope):
        octets = b"Received: by aiosmtpd.test\r\n" + envelope.original_content
        if is_in_thread:
            await asyncio.to_thread(keep, octets)
        else:
            keep(octets)
        return "250 kept"


async def main():
    handler = Anything()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, hostname="aiosmtpd.test", data_size_limit=100_000_000), "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
