#!/bin/sh
# Calls an Adobe API once, with a token of ims-token-broker. Needs curl alone.
# ITB_URL: the broker; ORG: the IMS org id; KEY_FILE: an API key or a projected token; the URL of the API as argument.
set -eu
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

# The broker answers with the headers that Adobe wants. They go from file to file, never into the list of processes.
{ printf 'Authorization: Bearer '; cat "$KEY_FILE"; } |
  curl --silent --show-error --fail --max-time 20 --retry 3 --header @- --output /dev/null --dump-header - \
    --get --data-urlencode "org=$ORG" "$ITB_URL/headers" |
  grep -iE '^(authorization|x-api-key|x-gw-ims-org-id|x-sandbox-name):' | tr -d '\r' > "$headers"

exec curl --silent --show-error --fail-with-body --max-time 60 --header "@$headers" "$1"
