"""Tests of the Kafka event log against real brokers."""
