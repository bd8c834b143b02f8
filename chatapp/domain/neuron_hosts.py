"""The Inferentia2 and Trainium instances as AWS describes them, and the latencies that were published for them.

Facts with their source, no arithmetic on models. The planner, the host check and the rehearsal read them here. This module
must not know what any of them does with them. No figure here was measured by this project.

Sources, by the names used below. "Arch": AWS Neuron SDK documentation, about-neuron/arch/neuron-hardware, inf2-arch and
trn1-arch. "Dev guide": transformers-neuronx developer guide of SDK 2.25. "LLM page": generative-llm-inference-with-neuron.
"Benchmarks": AWS Neuron SDK v2.21.1, general/benchmarks, latency_data_decoder.csv. "Blog": AWS Machine Learning Blog, 5 August
2024, "Faster LLMs with speculative decoding and AWS Inferentia2".
"""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.domain.errors import InvalidSetting

CORES_PER_CHIP = 2
HBM_PER_CORE_GIB = 16.0
"""Arch: 32 GiB for the two NeuronCores of a chip."""
USABLE_PER_CORE_GIB = 15.9
"""What can be planned with. The runtime counted 15.972 and 15.970 GiB when cores were full (github.com/aws-neuron/
transformers-neuronx, issues 92 and 49: "total")."""
FAMILY_TP = {"inf2": (1, 2, 4, 8, 12, 24), "trn1": (1, 2, 8, 16, 32)}
"""Numbers of NeuronCores that one model can be spread over, where the instance has as many."""
DISPUTED_TP = {
    ("inf2", 1): "the LLM page of the AWS documentation lists 2, 4, 8, 12 and 24; the developer guide has 1",
    ("inf2", 12): "the developer guide of transformers-neuronx lists 1, 2, 4, 8 and 24; the LLM page has 12",
    ("trn1", 16): "the runtime's own error text allows 16; no page of the AWS documentation lists it",
}
"""`(family, tp degree)` → in what AWS's lists differ."""


@dataclass(frozen=True, slots=True)
class NeuronHost:
    """One instance type. `host_ram_gib` is the processor's memory in GiB; `chip_link` tells whether its chips are joined."""

    name: str
    chips: int
    vcpus: int
    host_ram_gib: int
    chip_link: bool

    @property
    def family(self) -> str:
        """`inf2` or `trn1`."""
        return self.name.partition(".")[0]

    @property
    def cores(self) -> int:
        return self.chips * CORES_PER_CHIP

    @property
    def hbm_gib(self) -> float:
        """Device memory of all cores together, in GiB."""
        return self.cores * HBM_PER_CORE_GIB

    @property
    def tp_degrees(self) -> tuple[int, ...]:
        """Ascending; those in doubt are among them (`tp_doubt`)."""
        return tuple(degree for degree in FAMILY_TP[self.family] if degree <= self.cores)

    def tp_obstacle(self, degree: int) -> str:
        """Why no model can be spread over that many of its cores, as a sentence; empty where it can."""
        if degree in self.tp_degrees:
            return ""
        *some, last = map(str, self.tp_degrees)
        return (
            f"{self.name} can spread a model over {', '.join(some)} or {last} NeuronCores, not over {degree}."
        )

    def tp_doubt(self, degree: int) -> str:
        """In what AWS's lists of valid degrees differ about this one; empty where they agree."""
        return DISPUTED_TP.get((self.family, degree), "")


HOSTS = (
    NeuronHost("inf2.xlarge", 1, 4, 16, chip_link=False),
    NeuronHost("inf2.8xlarge", 1, 32, 128, chip_link=False),
    NeuronHost("inf2.24xlarge", 6, 96, 384, chip_link=True),
    NeuronHost("inf2.48xlarge", 12, 192, 768, chip_link=True),
    NeuronHost("trn1.2xlarge", 1, 8, 32, chip_link=False),
    NeuronHost("trn1.32xlarge", 16, 128, 512, chip_link=True),
)
"""Arch. transformers-neuronx runs on these families alone; trn2 is not among them."""


def neuron_host(name: str) -> NeuronHost:
    """The instance type of that name. Raises `InvalidSetting`."""
    for host in HOSTS:
        if host.name == name:
            return host
    known = ", ".join(host.name for host in HOSTS)
    raise InvalidSetting("instance", f"There is no instance type {name} here. Known: {known}.")


@dataclass(frozen=True, slots=True)
class PublishedLatency:
    """What was published of one model on one instance type, batch 1, its two bytes per weight unless `conditions` says more.

    `token_ms` is the median time of one token in plain decoding, ms. `prefill_ms` holds `(prompt tokens, time to first token
    in ms)`, ascending, from `prefill_source`; both are empty where nothing was published.
    """

    model: str
    instance: str
    tp_degree: int
    token_ms: float
    source: str
    conditions: str
    prefill_ms: tuple[tuple[int, float], ...] = ()
    prefill_source: str = ""


@dataclass(frozen=True, slots=True)
class PublishedPair:
    """Target and draft on one instance type, from one source."""

    target: PublishedLatency
    draft: PublishedLatency

    @property
    def cost_ratio(self) -> float:
        """One draft step / one target step."""
        return self.draft.token_ms / self.target.token_ms


BLOG = 'AWS Machine Learning Blog, 5 August 2024, "Faster LLMs with speculative decoding and AWS Inferentia2"'
INF2_TABLE = "AWS Neuron SDK v2.21.1, general/benchmarks/inf2/latency_data_decoder.csv"
TRN1_TABLE = "AWS Neuron SDK v2.21.1, general/benchmarks/trn1/latency_data_decoder.csv"
BLOG_SAYS = (
    "median per token; the post says AWS Trainium and neither instance nor length: taken for trn1.32xlarge"
)

LATENCIES = (
    # The post's own pairs come first: where two sources speak of one model, the first is taken.
    PublishedLatency(
        "Llama-2-70B", "trn1.32xlarge", 32, 20.6, BLOG, BLOG_SAYS, ((128, 53.9), (2048, 691.0)), TRN1_TABLE
    ),
    PublishedLatency("Llama-2-7B", "trn1.32xlarge", 32, 3.7, BLOG, BLOG_SAYS, ((128, 13.3),), TRN1_TABLE),
    PublishedLatency("Llama-3-70B", "trn1.32xlarge", 32, 21.4, BLOG, BLOG_SAYS),
    PublishedLatency("Llama-3-8B", "trn1.32xlarge", 32, 4.7, BLOG, BLOG_SAYS),
    PublishedLatency(
        "Llama-2-70B",
        "inf2.48xlarge",
        24,
        32.9,
        INF2_TABLE,
        "256 positions",
        ((128, 76.6), (256, 96.4), (1024, 277.0), (2048, 810.4)),
        INF2_TABLE,
    ),
    PublishedLatency("Llama-2-13B", "inf2.48xlarge", 24, 9.17, INF2_TABLE, "4096 positions"),
    PublishedLatency(
        "Llama-2-7B", "inf2.48xlarge", 24, 6.47, INF2_TABLE, "4096 positions", ((128, 27.6),), INF2_TABLE
    ),
    PublishedLatency("Llama-3-70B", "inf2.48xlarge", 24, 32.2, INF2_TABLE, "256 positions"),
    PublishedLatency("Llama-3-8B", "inf2.48xlarge", 24, 6.42, INF2_TABLE, "4096 positions, int8 weights"),
    PublishedLatency("Llama-2-13B", "trn1.32xlarge", 32, 9.84, TRN1_TABLE, "8192 positions"),
)
PUBLISHED_PAIRS = (("Llama-2-70B", "Llama-2-7B"), ("Llama-3-70B", "Llama-3-8B"))
"""Pairs of which both sides were published on one instance type."""


def published_latency(instance: str, model: str) -> PublishedLatency | None:
    """What was published of a model, by its name among the known shapes; None where nothing was."""
    return next((row for row in LATENCIES if (row.instance, row.model) == (instance, model)), None)


def published_pair(instance: str, target: str, draft: str) -> PublishedPair | None:
    """Both sides of a pair on one instance type; None where either was not published there."""
    large, small = published_latency(instance, target), published_latency(instance, draft)
    return PublishedPair(large, small) if large is not None and small is not None else None
