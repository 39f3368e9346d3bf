"""Poses of very many pictures and videos, by many workers, in shards that are done once and never in part."""
