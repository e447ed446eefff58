"""A replica of a machine: what it shows, how it is kept level, what it waits for."""
