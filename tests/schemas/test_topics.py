"""Goal: a record that was acknowledged cannot be lost by how its topic is set."""

import pytest

from schemas.topics import RECORD_BYTES_MAX, TOPICS, TopicSettings
from services.runtime.eventlog.embedded.publisher import PublisherLimits
from services.runtime.eventlog.kafka.publisher import KafkaPublisherLimits


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
class TestEachTopic:
    def test_it_survives_any_one_broker_and_stays_writable_without_it(self, topic: TopicSettings) -> None:
        in_sync = topic.at_least(single_broker=False)["min.insync.replicas"]
        assert 2 <= in_sync < topic.replicas_on(single_broker=False)
        assert topic.exact(single_broker=False)["unclean.leader.election.enable"] == "false"

    def test_a_single_broker_syncs_each_write(self, topic: TopicSettings) -> None:
        assert topic.replicas_on(single_broker=True) == 1
        assert topic.at_least(single_broker=True)["min.insync.replicas"] == 1
        assert topic.exact(single_broker=True)["flush.messages"] == "1"

    def test_nothing_but_its_age_removes_a_record(self, topic: TopicSettings) -> None:
        for single_broker in (False, True):
            assert topic.exact(single_broker=single_broker)["cleanup.policy"] == "delete"
            assert topic.exact(single_broker=single_broker)["message.timestamp.type"] == "CreateTime"
            assert topic.at_least(single_broker=single_broker)["retention.bytes"] == -1
            assert topic.at_least(single_broker=single_broker)["retention.ms"] >= 30 * 24 * 3600 * 1000

    def test_it_takes_the_largest_record_of_either_publisher(self, topic: TopicSettings) -> None:
        assert topic.at_least(single_broker=False)["max.message.bytes"] > RECORD_BYTES_MAX


def test_the_publishers_take_what_the_contract_says() -> None:
    assert KafkaPublisherLimits().record_bytes_max == RECORD_BYTES_MAX
    assert PublisherLimits().record_bytes_max == RECORD_BYTES_MAX
