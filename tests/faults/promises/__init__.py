"""One module for each family of promises. Importing them registers them, in the order of a run."""

from . import queue, carrier, steps, data, schema, outage, tokens, guessing, access, inputs, clients  # noqa: F401
from . import machine, chat_resume, chat_chaos, chat_judge, chat_limits, chat_crowd, secrets  # noqa: F401
