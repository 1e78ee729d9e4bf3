"""`manage.py dbshell` for the embedded server and for the role that the app steps down to."""

import os
from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

from config.pg.binaries import find_tools
from config.pg.embedded import server


class DatabaseClient(client.DatabaseClient):
    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        if settings_dict.get("EMBEDDED"):
            server().ensure()
            settings_dict = {**settings_dict, "HOST": str(server().sock), "PORT": "5432"}
        command, environment = super().settings_to_cmd_args_env(settings_dict, parameters)
        if settings_dict.get("EMBEDDED"):
            command[0] = str(find_tools("psql")[-1])
        if role := settings_dict.get("ROLE"):
            options = f"{os.environ.get('PGOPTIONS', '')} -c role={role}".strip()
            environment = {**(environment or {}), "PGOPTIONS": options}
        return command, environment
