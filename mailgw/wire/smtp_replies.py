"""What the server says of its own accord, and the shell's usual words (RFC 5321 s4.2.2, RFC 3463, RFC 4954 s6)."""

from typing import Final

from mailgw.mail.reply import Reply

# --- the shell's usual answers ---------------------------------------------------------------------
READY_FOR_TLS: Final = Reply(220, "2.0.0", ("Ready to start TLS",))
LOGGED_IN: Final = Reply(235, "2.7.0", ("Authentication successful",))
LOGIN_FAILED: Final = Reply(535, "5.7.8", ("Authentication credentials invalid",))
SENDER_OK: Final = Reply(250, "2.1.0", ("Sender OK",))
RECIPIENT_OK: Final = Reply(250, "2.1.5", ("Recipient OK",))
START_CONTENT: Final = Reply(354, "", ("End data with <CR><LF>.<CR><LF>",))
# RFC 4954 s6
NO_LOGIN_NOW: Final = Reply(454, "4.7.0", ("Temporary authentication failure",))
LOCAL_TROUBLE: Final = Reply(451, "4.3.0", ("Temporary local problem, please try again",))
TIMED_OUT: Final = Reply(421, "4.4.2", ("Timeout, closing the connection",))
SHUTTING_DOWN: Final = Reply(421, "4.3.2", ("Shutting down, please try again",))
# Never said: the shell cuts the connection in its place (``policy.rules.scripted``).
HANG_UP: Final = Reply(421, "4.4.2", ("The connection is lost before an answer (as the address asks)",))

# --- the dialog's own: commands that need nobody's opinion -------------------------------------------
OK: Final = Reply(250, "2.0.0", ("OK",))
BYE: Final = Reply(221, "2.0.0", ("Bye",))
HELP: Final = Reply(214, "2.0.0", ("Commands: RFC 5321",))
# RFC 5321 s3.5.3, s7.3: neither yes nor no, so that nobody harvests addresses.
CANNOT_VERIFY: Final = Reply(252, "2.0.0", ("Cannot verify; send some mail, it will be tried",))

# --- faults of form --------------------------------------------------------------------------------
UNKNOWN_COMMAND: Final = Reply(500, "5.5.2", ("Command not recognized",))
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", ("Command not implemented",))
NO_ARGUMENT: Final = Reply(501, "5.5.4", ("This command takes no argument",))
WANTS_ARGUMENT: Final = Reply(501, "5.5.4", ("This command wants an argument",))
BARE_OCTETS: Final = Reply(500, "5.5.2", ("Only CRLF ends a line; bare CR, LF and NUL are refused",))
LINE_TOO_LONG: Final = Reply(500, "5.5.2", ("Line too long",))
BAD_BDAT: Final = Reply(501, "5.5.4", ("Syntax: BDAT size [LAST]",))
USE_LHLO: Final = Reply(502, "5.5.1", ("This is LMTP: say LHLO",))

# --- faults of order -------------------------------------------------------------------------------
NO_SERVICE: Final = Reply(503, "5.5.1", ("No service here; say QUIT",))  # RFC 5321 s3.1, after a 554 greeting
HELLO_FIRST: Final = Reply(503, "5.5.1", ("Introduce yourself first",))
NESTED_MAIL: Final = Reply(503, "5.5.1", ("Sender already given",))
MAIL_FIRST: Final = Reply(503, "5.5.1", ("MAIL first",))
NO_RECIPIENTS: Final = Reply(554, "5.5.1", ("No valid recipients",))
NO_LMTP_RECIPIENTS: Final = Reply(503, "5.5.1", ("No valid recipients",))  # RFC 2033 s4.2: 503, a MUST
NOT_IN_TRANSACTION: Final = Reply(503, "5.5.1", ("Not while a message is on its way",))
AFTER_CHUNK: Final = Reply(503, "5.5.1", ("Only BDAT or RSET may follow BDAT",))  # RFC 3030 s2
CHUNK_REFUSED_BEFORE: Final = Reply(503, "5.5.1", ("A chunk was refused; say RSET",))
BINARY_WANTS_CHUNKS: Final = Reply(503, "5.5.1", ("BODY=BINARYMIME wants BDAT",))  # RFC 3030 s3

# --- faults of measure -----------------------------------------------------------------------------
TOO_LARGE: Final = Reply(552, "5.3.4", ("The message is larger than this server takes",))
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", ("Too many recipients; send the rest in another message",))
CHUNK_TOO_LARGE: Final = Reply(552, "5.3.4", ("The chunk is larger than this server takes",))
TOO_MANY_CHUNKS: Final = Reply(554, "5.5.0", ("Too many small chunks",))
LARGE_HEADER: Final = Reply(552, "5.3.4", ("The message's header is larger than this server takes",))
LONG_CONTENT_LINE: Final = Reply(554, "5.6.0", ("The message has a line that is longer than this server takes",))
BARE_CONTENT: Final = Reply(550, "5.6.0", ("The message has a bare CR or LF; lines end in CRLF",))
NUL_CONTENT: Final = Reply(550, "5.6.0", ("The message has a NUL",))

# --- TLS and login ---------------------------------------------------------------------------------
TLS_IS_ON: Final = Reply(503, "5.5.1", ("TLS is on already",))
TLS_FIRST: Final = Reply(530, "5.7.0", ("Say STARTTLS first",))
# RFC 8689 s4.1 lets the parameter stand under TLS alone; 5.7.10 is RFC 5248's "encryption needed"
REQUIRETLS_IN_CLEAR: Final = Reply(530, "5.7.10", ("REQUIRETLS wants TLS here first: say STARTTLS",))
ENCRYPTION_REQUIRED: Final = Reply(538, "5.7.11", ("Encryption required: say STARTTLS first",))
AUTH_REQUIRED: Final = Reply(530, "5.7.0", ("Authentication required",))
LOGGED_IN_ALREADY: Final = Reply(503, "5.5.1", ("Logged in already",))
UNKNOWN_MECHANISM: Final = Reply(504, "5.5.4", ("Authentication mechanism not offered",))
AUTH_CANCELLED: Final = Reply(501, "5.7.0", ("Authentication cancelled",))
AUTH_MALFORMED: Final = Reply(501, "5.5.2", ("Malformed authentication response",))
AUTH_NOT_BOUND: Final = Reply(535, "5.7.8", ("This login is not bound to this connection",))
AUTH_LINE_TOO_LONG: Final = Reply(500, "5.5.6", ("Authentication exchange line is too long",))

# --- last words ------------------------------------------------------------------------------------
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", ("Too many errors, closing the connection",))
TOO_MANY_MESSAGES: Final = Reply(421, "4.7.0", ("Too many messages in one session; send the rest in another",))
ENDLESS_LINE: Final = Reply(421, "4.7.0", ("A line without an end, closing the connection",))
NOT_THIS_PROTOCOL: Final = Reply(421, "4.7.0", ("This is a mail server, closing the connection",))
SENT_BEFORE_TLS: Final = Reply(503, "5.5.1", ("Nothing may follow STARTTLS before its answer",))
CHUNK_WITHOUT_SIZE: Final = Reply(501, "5.5.4", ("BDAT wants a size of at most 10 digits, closing the connection",))
SENT_BEFORE_CONTENT: Final = Reply(421, "4.5.0", ("Nothing may follow DATA before its answer",))
