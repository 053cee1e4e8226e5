claim
stage pre-start "$JOB"
stage running "$JOB"
"$SHELL_PATH" -c "$COMMAND" &
CHILD=$!
run_child
[ -z "$STOPPED" ] || CODE=143
sweep
finish "$CODE" "the server ended with exit code $CODE"
