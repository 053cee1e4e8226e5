"""`proctor ls`: what there is."""

from proctor.cli.lazy import Lazy, LazyGroup

ls = LazyGroup(
    {
        "runs": Lazy("proctor.cli.runs", "runs", "The evaluations, the newest first."),
        "tasks": Lazy("proctor.cli.tasks", "tasks", "The benchmarks that configs may name."),
        "shapes": Lazy("proctor.cli.shapes", "shapes", "What the Lepton cloud can give a benchmark or a model server."),
    },
    help="List what there is.",
)
