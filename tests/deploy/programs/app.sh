#!/bin/sh
# An application that knows nothing of Python: it does its share of each order, and says so.
# The sidecar that runs it hands it AMZMQ_HTTP; the test hands it HOST.
set -u
fleet=$AMZMQ_HTTP/machines/fleet

# It is the sidecar that waits. The machine is not there before the sidecar was level with it.
await() {
    until curl --silent --max-time 30 "$fleet/when?$1&timeout=20" | grep --quiet '"met":true'; do
        sleep 0.2
    done
}

# A change travels up to the source, which may be away for a while.
tell() {
    body="{\"states\": [\"Done_$HOST\"]}"
    until curl --silent --fail --max-time 10 --output /dev/null --json "$body" "$fleet/$1"; do
        sleep 0.2
    done
}

while :; do
    await "states=Order&not=Done_$HOST"
    tell add
    echo "share of $HOST"
    await "not=Done_$HOST"
done
