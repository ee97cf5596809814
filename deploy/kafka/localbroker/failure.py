"""The one error of this package."""


class Failure(Exception):  # noqa: N818 - it is said to a person, not raised at a caller
    """Something that a person must see to; the text says what, where and what to do."""
