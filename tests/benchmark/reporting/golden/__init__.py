"""A small committed result set and the report made of it."""
