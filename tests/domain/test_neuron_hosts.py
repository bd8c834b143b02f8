"""The instance table and the published latencies, against AWS's documentation as its readers wrote it down."""

from __future__ import annotations

import pytest

from chatapp.domain.errors import InvalidSetting
from chatapp.domain.neuron_hosts import (
    HOSTS,
    LATENCIES,
    PUBLISHED_PAIRS,
    neuron_host,
    published_latency,
    published_pair,
)

# name, chips, cores, HBM GiB, vCPU, host RAM GiB, tp degrees; neuron-contract.md §8.1
TABLE = [
    ("inf2.xlarge", 1, 2, 32, 4, 16, (1, 2)),
    ("inf2.8xlarge", 1, 2, 32, 32, 128, (1, 2)),
    ("inf2.24xlarge", 6, 12, 192, 96, 384, (1, 2, 4, 8, 12)),
    ("inf2.48xlarge", 12, 24, 384, 192, 768, (1, 2, 4, 8, 12, 24)),
    ("trn1.2xlarge", 1, 2, 32, 8, 32, (1, 2)),
    ("trn1.32xlarge", 16, 32, 512, 128, 512, (1, 2, 8, 16, 32)),
]


@pytest.mark.parametrize("row", TABLE, ids=[str(row[0]) for row in TABLE])
def test_instances_are_as_aws_describes_them(
    row: tuple[str, int, int, int, int, int, tuple[int, ...]],
) -> None:
    host = neuron_host(row[0])
    assert row == (
        host.name,
        host.chips,
        host.cores,
        host.hbm_gib,
        host.vcpus,
        host.host_ram_gib,
        host.tp_degrees,
    )


def test_every_instance_is_in_the_table_and_joins_its_chips_when_it_has_several() -> None:
    assert [host.name for host in HOSTS] == [row[0] for row in TABLE]
    assert all(host.chip_link == (host.chips > 1) for host in HOSTS)


def test_degrees_on_which_the_lists_differ_say_so() -> None:
    assert "developer guide" in neuron_host("inf2.24xlarge").tp_doubt(12)
    assert "error text" in neuron_host("trn1.32xlarge").tp_doubt(16)
    assert neuron_host("inf2.48xlarge").tp_doubt(24) == ""


def test_an_unknown_instance_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidSetting, match=r"trn2.48xlarge.*inf2.xlarge.*trn1.32xlarge"):
        neuron_host("trn2.48xlarge")


def test_the_post_s_pairs() -> None:
    llama2 = published_pair("trn1.32xlarge", *PUBLISHED_PAIRS[0])
    llama3 = published_pair("trn1.32xlarge", *PUBLISHED_PAIRS[1])
    assert llama2 is not None
    assert llama3 is not None
    assert (llama2.target.token_ms, llama2.draft.token_ms) == (20.6, 3.7)
    assert (llama3.target.token_ms, llama3.draft.token_ms) == (21.4, 4.7)
    assert llama2.cost_ratio == pytest.approx(0.18, abs=0.001)


def test_inferentia_has_its_own_figures_and_small_instances_have_none() -> None:
    pair = published_pair("inf2.48xlarge", "Llama-2-70B", "Llama-2-7B")
    assert pair is not None
    assert (pair.target.token_ms, pair.draft.token_ms) == (32.9, 6.47)
    assert published_latency("inf2.xlarge", "Llama-2-7B") is None
    assert published_pair("inf2.48xlarge", "Llama-2-70B", "TinyLlama-1.1B") is None


@pytest.mark.parametrize("row", LATENCIES, ids=lambda row: f"{row.model}-{row.instance}")
def test_every_figure_names_its_source_and_a_degree_its_instance_has(row: object) -> None:
    found = next(latency for latency in LATENCIES if latency is row)
    assert found.source.startswith("AWS")
    assert found.conditions
    assert found.tp_degree in neuron_host(found.instance).tp_degrees
    assert list(found.prefill_ms) == sorted(found.prefill_ms)
    assert bool(found.prefill_ms) == found.prefill_source.startswith("AWS")
