"""The ``amzmq`` command. Nothing is imported here: the demo's followers must start quickly."""
