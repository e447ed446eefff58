#!/bin/sh
# Asks a sidecar how it is, again and again, as whoever runs containers does: probe.sh URL.
# A line is an answer and its status.
while :; do
    curl --silent --max-time 2 --write-out ' %{http_code}\n' "$1/healthz" "$1/readyz"
    sleep 0.2
done
