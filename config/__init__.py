"""Settings, URLs, servers and the database layer: imports every app, imported by none."""
