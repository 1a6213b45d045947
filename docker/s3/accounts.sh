#!/bin/sh
# The buckets, and an account for each service that may use one of them. It can be repeated: passwords then change.
set -eu
mc() { command mc --config-dir /tmp/mc "$@"; }

account() {
    policy="bucket-of-$1"
    mc admin user add store "$1" "$2"
    mc admin policy create store "$policy" "/s3/$1.json"
    case "$(mc admin user info store "$1")" in
        *"$policy"*) ;; # attaching it once more would be an error
        *) mc admin policy attach store "$policy" --user "$1" ;;
    esac
}

mc alias set store http://s3:9000 root "$S3_ROOT_PASSWORD"
mc mb --ignore-existing store/ratewright store/mlflow
account stages "$S3_STAGES_PASSWORD"
account mlflow "$S3_MLFLOW_PASSWORD"
