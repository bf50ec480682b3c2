"""The event index: followed on real nodes, into SQLite and a real PostgreSQL."""
