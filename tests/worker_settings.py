"""Settings of the workers that tests start: the product's, with waits short enough to watch."""

from config.settings import *  # noqa: F403, TID251  (a settings module is a list of names)
from config.settings import Q_CLUSTER as PRODUCT_CLUSTER  # noqa: TID251
from config.settings import TASK_MODULES as PRODUCT_MODULES  # noqa: TID251

Q_CLUSTER = {**PRODUCT_CLUSTER, "timeout": 2, "retry": 3, "poll": 0.3}
TASK_MODULES = [*PRODUCT_MODULES, "tests.worker_tasks", "time"]
