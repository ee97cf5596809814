"""The topics of the event log as an AsyncAPI 3 document, for people and tools that are not ours.

It describes what is written today: `followup.tasks.v1` has settings but no records yet, so it is not in here.
Source: AsyncAPI 3.0.0; its Kafka bindings 0.5.0; CloudEvents' Kafka protocol binding.
"""

from typing import Any, Final

from schemas import cloud_events
from schemas.events import ACK_HEADER, ADT_EVENT_VERSION, RAW_HEADER, SENDER_HEADER
from schemas.topics import ADT_EVENTS, TOPICS

BINDING_VERSION: Final = "0.5.0"
_CHANNEL: Final = "adtEvents"
_MESSAGE: Final = "AdtEvent"


def asyncapi_document(event_schema_file: str) -> dict[str, Any]:
    """Return the document; the event's schema is in a file beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Afterstay event log",
            "version": f"{ADT_EVENT_VERSION}.0.0",
            "description": "Every HL7 v2 ADT message that was acknowledged, normalized, with its bytes as received.",
        },
        "defaultContentType": cloud_events.CONTENT_TYPE,
        "channels": {_CHANNEL: _channel()},
        "operations": {
            "publishAdtEvent": _operation("send", "The listener publishes each message before it acknowledges it."),
            "consumeAdtEvent": _operation("receive", "Follow-up claims each event id once; resends are duplicates."),
        },
        "components": {"messages": {_MESSAGE: _message(event_schema_file)}},
    }


def _channel() -> dict[str, Any]:
    (settings,) = [topic for topic in TOPICS if topic.name == ADT_EVENTS]
    at_least = settings.at_least(single_broker=False)
    return {
        "address": settings.name,
        "description": "The source of truth for replay. Order between records means nothing.",
        "messages": {_MESSAGE: {"$ref": f"#/components/messages/{_MESSAGE}"}},
        "bindings": {
            "kafka": {
                "topic": settings.name,
                "partitions": settings.partitions,
                "replicas": settings.replicas,
                "topicConfiguration": {
                    "cleanup.policy": [settings.exact(single_broker=False)["cleanup.policy"]],
                    "retention.ms": at_least["retention.ms"],
                    "retention.bytes": at_least["retention.bytes"],
                    "max.message.bytes": at_least["max.message.bytes"],
                },
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _operation(action: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{_CHANNEL}/messages/{_MESSAGE}"}],
    }


def _message(event_schema_file: str) -> dict[str, Any]:
    return {
        "name": cloud_events.TYPE,
        "title": "One HL7 v2 ADT message",
        "contentType": cloud_events.CONTENT_TYPE,
        "headers": {"type": "object", "required": _required(), "properties": _headers()},
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{event_schema_file}"},
        },
        "bindings": {
            "kafka": {
                "key": {"type": "string", "format": "uuid", "description": "The event id."},
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _required() -> list[str]:
    return [name for name in _headers() if name != SENDER_HEADER]


def _headers() -> dict[str, Any]:
    return {
        RAW_HEADER: _text("The message's bytes exactly as received: patient data, in no character set of ours."),
        ACK_HEADER: _text("The acknowledgement code that was decided (HL7 table 0008), or none."),
        SENDER_HEADER: _text("Names of the certificate that its connection showed, one a line."),
        "ce_specversion": {"type": "string", "const": cloud_events.SPEC_VERSION},
        "ce_type": {"type": "string", "const": cloud_events.TYPE},
        "ce_source": {"type": "string", "const": cloud_events.SOURCE},
        "content-type": {"type": "string", "const": cloud_events.CONTENT_TYPE},
        "ce_id": {"type": "string", "format": "uuid", "description": "The event id, as the key."},
        "ce_time": {"type": "string", "format": "date-time", "description": "When the last byte was received."},
    }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}
