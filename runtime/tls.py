"""Errors of TLS in words for people. Drivers wrap them, so they are found by their text (OpenSSL's, in brackets)."""

import re

_ERROR = re.compile(r"\[SSL: ([A-Z0-9_]+)\] (.+?)(?:\.? \(_ssl\.c:\d+\)|$)", re.DOTALL)
#: What comes back where the other end speaks another protocol.
_NO_TLS = {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}


def tls_words(text: str) -> str | None:
    """What an error of TLS means; None if the text tells of none."""
    found = _ERROR.search(text)
    if found is None:
        return None
    name, words = found.groups()
    if name == "CERTIFICATE_VERIFY_FAILED":
        return f"the server's certificate is not trusted: {words.removeprefix('certificate verify failed: ')}"
    if name in _NO_TLS:
        return "the server does not speak TLS on this port"
    return f"TLS fails: {words}"
