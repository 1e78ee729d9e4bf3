"""The one identity engine: who a record is, and what it changes. Set-wise, in SQL."""
