"""Which topics and partitions the embedded log accepts, and how it refuses the others.

A topic needs no creation: any name that Kafka would take is one, so that a topic can move there.
"""

import re

from services.runtime.errors import Permanent

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")  # org.apache.kafka.common.internals.Topic: legal characters, length


def is_legal_topic(topic: str) -> bool:
    """Tell whether a topic may have this name."""
    return _NAME.fullmatch(topic) is not None


def require_legal_topic(topic: str) -> None:
    """Refuse a name that no topic can have.

    Raises:
        Permanent: `topic-unknown`.
    """
    if not is_legal_topic(topic):
        raise illegal_topic()


def illegal_topic() -> Permanent:
    """Return the error for such a name, without the name: it may be anything."""
    return Permanent("topic-unknown", "a topic is named by 1 to 249 letters, digits, dots, hyphens and underscores")


def unknown_partition(topic: str, partition: int, count: int) -> Permanent:
    """Return the error for a partition that the topic does not have."""
    return Permanent("partition-unknown", f"topic {topic} has partitions 0 to {count - 1}, not {partition}")
