"""What is normal: decaying tables, open sessions, the hot loop, learning, shard state."""
