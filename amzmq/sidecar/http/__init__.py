"""The local interface: the machines of the daemon as JSON over HTTP."""
