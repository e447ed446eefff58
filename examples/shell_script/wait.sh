#!/bin/sh
# Waits for the end of the backup, and tells which: wait.sh [URL]. Needs nothing but curl.
set -eu

backup=${1:-http://127.0.0.1:7790}/machines/backup

# Whether something is so, or becomes so in time: ask QUERY. It is the sidecar that waits.
ask() {
    answer=$(curl --fail --silent --show-error --max-time 40 "$backup/when?$1") || exit 2
    case $answer in *'"met":true'*) return 0 ;; *) return 1 ;; esac
}

until ask "not=Starting,Running,Backoff&timeout=30"; do
    echo "still at it"
done
if ask "states=Done&timeout=0"; then
    echo "the backup is done"
else
    echo "the backup has failed" >&2
    exit 1
fi
