"""Shards divided anew: what was learnt in some number of shards, in another number of them."""
