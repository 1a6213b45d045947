#!/bin/sh
# docker/.env from docker/.env.example, with a random value for each secret. Only its owner may read it. A file that
# exists is kept.
set -euC
cd "$(dirname "$0")"
umask 077
while IFS= read -r line; do
    case "$line" in
        *_PASSWORD= | *_KEY= | *_SECRET= | *_TOKEN=) line="$line$(openssl rand -base64 32 | tr +/ -_)" ;;
    esac
    printf '%s\n' "$line"
done < .env.example > .env
