"""Apache Kafka: topics as sources, and topics that alerts, decisions and rejects go to."""
