#!/bin/sh
# A function without a runtime: it says where its Runtime API is, and the test asks in its place.
echo "$AWS_LAMBDA_RUNTIME_API"
exec sleep 100
