"""The object store backend: each message becomes an object in a bucket of S3, or of what speaks its protocol.

By boto3, in threads: it is an extra (``pip install mailgw[s3]``), and is imported when the first message comes.  It is
AWS's own, and its ways to find credentials are those that operators know.  Signing requests ourselves was rejected:
what such stores differ in is more than the signature.

Rules:
    Delivered is what the store has answered 200 for.  A repeat overwrites the object with the same octets.
    One object for all recipients whose key is the same, one for each key else.
    Whatever goes wrong waits, but that the store says a message is too large: it is the configuration, the rights, or
    the moment.
    A cancelled attempt lets its thread end by itself: the object may be there then, and is overwritten.
"""

from collections.abc import Callable, Mapping, Sequence
from tempfile import SpooledTemporaryFile
from threading import Thread
from typing import IO, Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailgw.deliver.s3_settings import S3Settings, is_too_long, key_of
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import path_text
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, delivered, permanent, temporary
from mailgw.mail.reply import Reply

# Of a message that is not in memory: above this it goes to the store by a file without a name.
IN_MEMORY_OCTETS = 1 << 20
# Of S3: all of an object's own fields together have at most 2 KiB.
MOST_FIELD_OCTETS = 1024

_NO_KEY = Reply(550, "5.1.3", ("The address is too long for the object store",))
_CUT_OFF = temporary("4.3.0", "The attempt ended before this recipient's turn", Scope.MESSAGE, "")

_log = Logger()


class Client(Protocol):
    """boto3's."""

    def put_object(self, **arguments: Any) -> Any: ...


@implementer(IDeliveryBackend)
class S3Backend(Service):
    """``make_client`` is called once, in a thread; the client is used by several of them at once."""

    def __init__(
        self,
        settings: S3Settings,
        make_client: Callable[[S3Settings], Client],
        reactor: Any,
        threads: ThreadPool | None,
    ) -> None:
        """``threads`` None: its own, from its start to its stop."""
        self.concurrency = settings.concurrency
        self._settings = settings
        self._make_client = make_client
        self._reactor = reactor
        self._threads = threads
        self._client: Client | None = None
        self._making = DeferredLock()
        self._hop = f"s3://{settings.bucket}"
        self._own: ThreadPool | None = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call] # Twisted has no types there
        if self._threads is None:
            self._own = self._threads = ThreadPool(0, self._settings.concurrency, "mailgw s3")
            self._own.start()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call] # Twisted has no types there
        if self._own is not None:
            # What a cancelled attempt has left to a thread may take as long as the store does: nobody waits for it.
            Thread(target=self._own.stop, daemon=True).start()
            self._own = self._threads = None

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return _NO_KEY if is_too_long(self._settings.key, recipient) else None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """As the interface says.  Cut off, it says which recipients' objects are there."""
        keys: dict[str, list[Mailbox]] = {}
        for recipient in recipients:
            keys.setdefault(key_of(self._settings.key, message, recipient), []).append(recipient)
        known: dict[Mailbox, Outcome] = {}
        left = _CUT_OFF
        body: IO[bytes] | None = None
        try:
            body = await self._body(message)
            for key, group in keys.items():
                outcome = await self._put(key, group, message, body)
                known |= dict.fromkeys(group, outcome)
                if outcome.permanence is Permanence.TEMPORARY:
                    left = outcome
                    break
        except TemporaryFault as fault:  # of our disk
            left = temporary("4.3.0", fault.why, Scope.MESSAGE, "")
        except CancelledError:
            body = None  # a thread may be reading it: that one closes it, with its last reference
            if not known:
                raise
        finally:
            if body is not None:
                body.close()
        return dict.fromkeys(recipients, left) | known

    async def _body(self, message: Message) -> IO[bytes]:
        """The content, as a file that boto3 may read and rewind."""
        found: Any = SpooledTemporaryFile(IN_MEMORY_OCTETS)  # noqa: SIM115 - deliver closes it
        octets = message.content.octets
        if octets is not None:
            found.write(octets)
            return found  # type: ignore[no-any-return] # typeshed's is no IO[bytes] in every version
        async for chunk in message.content.chunks():
            await deferToThreadPool(self._reactor, self._pool, found.write, chunk)
        return found  # type: ignore[no-any-return]

    @property
    def _pool(self) -> ThreadPool:
        if self._threads is None:
            raise TemporaryFault("the object store's backend is stopped")
        return self._threads

    async def _put(self, key: str, group: Sequence[Mailbox], message: Message, body: IO[bytes]) -> Outcome:
        arguments = {
            "Bucket": self._settings.bucket, "Key": key, "Body": body, "ContentType": "message/rfc822",
            "ContentLength": message.content.size_octets, "Metadata": _fields(message, group),
        }

        def put(client: Client) -> None:
            body.seek(0)
            client.put_object(**arguments)

        try:
            client = await self._made()
            await deferToThreadPool(self._reactor, self._pool, put, client)
        except (CancelledError, TemporaryFault):
            raise
        except Exception as fault:  # noqa: BLE001 - boto3 has hundreds of names for it
            return self._outcome_of(fault)
        return delivered(Reply(250, "2.0.0", ("Stored",)), f"{self._hop}/{key}")

    async def _made(self) -> Client:
        await self._making.acquire()
        try:
            if self._client is None:
                self._client = await deferToThreadPool(self._reactor, self._pool, self._make_client, self._settings)
            return self._client
        finally:
            self._making.release()

    def _outcome_of(self, fault: Exception) -> Outcome:
        response = getattr(fault, "response", None)  # of botocore's ClientError
        error = response.get("Error", {}) if isinstance(response, dict) else {}
        word = str(error.get("Code") or type(fault).__name__)[:100]
        if word == "EntityTooLarge":
            # RFC 3463 s3.4: x.3.4, message too big for system
            return permanent("5.3.4", "Too large for the object store", Scope.MESSAGE, self._hop)
        if not error:
            _log.warn("{hop}: {why}", hop=self._hop, why=f"{word}: {fault}"[:500])
        return temporary("4.3.0", f"The object store answered {word}", Scope.HOST, self._hop)


def _fields(message: Message, group: Sequence[Mailbox]) -> dict[str, str]:
    """The object's own fields: the envelope, as far as it is ASCII and fits."""
    found = {"queue-id": message.queue_id, "arrived": f"{message.arrived:.3f}"}
    told = {"reverse-path": path_text(message.reverse_path), "recipients": ",".join(map(str, group))}
    for name, value in told.items():
        if value.isascii() and value.isprintable() and sum(map(len, found.values())) + len(value) <= MOST_FIELD_OCTETS:
            found[name] = value
    return found


def boto3_client(settings: S3Settings) -> Client:
    """A client that does not repeat by itself, since the queue does."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=settings.connect_seconds,
        read_timeout=settings.answer_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=settings.concurrency,
        # What other stores than AWS do not know is left out where it need not be.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    made: Client = boto3.session.Session().client(
        "s3",
        config=config,
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=None if settings.secret is None else settings.secret.value,
        verify=settings.ca_file,
    )
    return made
