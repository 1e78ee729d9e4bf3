"""Database backend: PostgreSQL with two roles, embedded unless DATABASE_URL names a server.

`DATABASES["default"]` with `ENGINE = "config.pg"` is read as Django reads it, and beyond that:

    EMBEDDED    true: the server of `config.pg.embedded`, started when the first connection is
                made. HOST and PORT are ignored, USER logs in by its account (no password)
    OWNER       {"user", "password"}: what replaces USER and PASSWORD inside `as_owner()`
    ROLE        with one login for both: the role that every ordinary connection steps down to
    CATALOGUES  tables that migrations filled; the flush after a test leaves them alone
    AFTER_FLUSH SQL statements that put back single rows migrations made

Defaults for OPTIONS: application_name "fairlead", and over TCP connect_timeout 10 and keepalives
30/10/3 seconds, so that a dead host is noticed within a minute.
"""
