claim
stage pre-start "$JOB"
stage running "$JOB"
"$SHELL_PATH" -c "$COMMAND" &
CHILD=$!
told_before_it_began
run_child
sweep
[ -z "$STOPPED" ] || interrupted
finish "$CODE" "the server ended with exit code $CODE"
