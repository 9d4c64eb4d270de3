"""One module for each family of promises. Importing them registers them, in the order of a run."""

from . import queue, carrier, steps, data, schema, outage, tokens, guessing, access, inputs, clients, secrets  # noqa: F401
