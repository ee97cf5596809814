"""A real Apache Kafka in KRaft mode from its Maven artifacts, for development, CI and small single machines.

Standard library only: it runs with the python3 of a fresh machine, before anything of Afterstay is installed.
"""
