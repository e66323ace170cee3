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
LOCAL_TROUBLE: Final = Reply(451, "4.3.0", ("Temporary local problem, please try again",))
TIMED_OUT: Final = Reply(421, "4.4.2", ("Timeout, closing the connection",))
SHUTTING_DOWN: Final = Reply(421, "4.3.2", ("Shutting down, please try again",))
