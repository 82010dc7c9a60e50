"""The API server: what is asked of it (`request`), what it answers, and how it decides (`server` has the map)."""
