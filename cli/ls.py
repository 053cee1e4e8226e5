"""`proctor ls`: what there is."""

from proctor.cli.lazy import Lazy, LazyGroup

ls = LazyGroup(
    {"tasks": Lazy("proctor.cli.tasks", "tasks", "The benchmarks that configs may name.")},
    help="List what there is.",
)
