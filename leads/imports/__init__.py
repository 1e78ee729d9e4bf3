"""Files that become leads: reading, mapping, checking, importing, undoing."""
