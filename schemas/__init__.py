"""The contract between the services: events, topics and their JSON Schemas."""
