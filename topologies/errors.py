"""The small tree of errors that a reader of a message can act on; every folder builds on it."""


class HeddleError(Exception):
    """Something failed; the message says what, where and what to do. Exit code 1."""


class InputError(HeddleError):
    """What the user gave is wrong: a file, a flag, a request. Exit code 2, HTTP 422."""
