"""The library's log as Python hears it: `logging.getLogger("mrp")`. Errors are not in it: they are exceptions."""

import logging

from mrp import _mrp

logger = logging.getLogger("mrp")

_LEVELS = {_mrp.LOG_WARNING: logging.WARNING, _mrp.LOG_INFO: logging.INFO}


def _hear(level: int, text: str) -> None:
    logger.log(_LEVELS[level], "%s", text)


_mrp.set_log(_hear)
