"""The event log on Kafka, by aiokafka; the only package besides the faust app that imports it."""
