"""From the names in a config to benchmarks that can run; pure."""

from dataclasses import dataclass

from proctor.configs.catalog import Catalog, Entry, load_catalog
from proctor.configs.errors import ConfigError
from proctor.configs.schema import BenchmarkConfig, EvaluationConfig


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark of an evaluation, ready to be planned."""

    name: str
    """`harness.benchmark`."""
    type: str
    """What the harness is told to run: its own name for a listed benchmark, the full name for an unlisted one."""
    image: str | None
    packages: tuple[str, ...]
    endpoint_type: str
    required_capabilities: tuple[str, ...]
    listed: bool
    config: BenchmarkConfig

    @property
    def short(self) -> str:
        """The name without its harness."""
        return self.name.rpartition(".")[2]


def resolve(config: EvaluationConfig) -> tuple[Benchmark, ...]:
    """The benchmarks of `evaluation.tasks`, in order.

    Raises ConfigError for a name that is unknown, ambiguous, listed twice, or not listed
    and not trusted.
    """
    catalog = load_catalog(config.mapping_path)
    trusted = config.evaluation.trust_unlisted
    benchmarks = tuple(resolve_one(entry, catalog, trusted=trusted) for entry in config.evaluation.tasks)
    refuse_duplicates(benchmarks)
    return benchmarks


def resolve_one(wanted: BenchmarkConfig, catalog: Catalog, *, trusted: bool) -> Benchmark:
    """One entry of `evaluation.tasks`; what it says itself comes before the catalog."""
    catalog.check(wanted.name, own=wanted.software, trusted=trusted)
    entry = catalog.find(wanted.name) or unlisted(wanted, catalog)
    listed = entry.name in catalog.entries
    return Benchmark(
        name=entry.name,
        type=entry.benchmark if listed else entry.name,
        image=wanted.container or entry.image,
        packages=tuple(wanted.packages) if wanted.packages is not None else entry.packages,
        endpoint_type=wanted.endpoint_type or entry.endpoint_type,
        required_capabilities=entry.required_capabilities,
        listed=listed,
        config=wanted,
    )


def unlisted(wanted: BenchmarkConfig, catalog: Catalog) -> Entry:
    """A benchmark that no mapping lists: `harness.benchmark` in the harness's own image, if it has one."""
    harness, _, benchmark = wanted.name.partition(".")
    known = catalog.harness(harness)
    return Entry(
        harness=harness,
        benchmark=benchmark,
        endpoint_type=wanted.endpoint_type or "chat",
        container=known.image if known else None,
        digest=None,
        arch=known.arch if known else "multiarch",
        packages=known.packages if known else (),
        required_capabilities=(),
    )


def refuse_duplicates(benchmarks: tuple[Benchmark, ...]) -> None:
    """Raise ConfigError when a benchmark stands twice in the list with the same settings."""
    seen: dict[str, Benchmark] = {}
    for benchmark in benchmarks:
        first = seen.setdefault(benchmark.name, benchmark)
        if (
            first is not benchmark
            and first.config.model_copy(update={"name": benchmark.config.name}) == benchmark.config
        ):
            raise ConfigError(
                f"evaluation.tasks: {benchmark.config.name!r} stands twice with the same settings; remove one"
            )
