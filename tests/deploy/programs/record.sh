#!/bin/sh
# Prints all that happens to the machine, from the moment on that it is there.
until curl --silent --fail --no-buffer "$AMZMQ_HTTP/machines/fleet/events"; do
    sleep 0.1
done
