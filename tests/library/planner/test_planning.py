"""Plans against what was published and what was seen when cores were full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatapp.domain.memory_plan import GB, PairPlan
from chatapp.domain.neuron import GIB, NeuronSettings
from chatapp.domain.neuron_hosts import HOSTS, neuron_host
from chatapp.library.planner.planning import PairRequest, plan_pair
from chatapp.library.planner.shapes import KNOWN, ModelShape


def request(
    target: str,
    draft: str | None,
    instance: str,
    tp: int = 0,
    *,
    weights: str = "auto",
    dtype: str = "bf16",
    positions: int = 2048,
) -> PairRequest:
    settings = NeuronSettings(tp_degree=tp, positions=positions, dtype=dtype)
    small = KNOWN[draft] if draft is not None else None
    return PairRequest(KNOWN[target], small, neuron_host(instance), settings, weights, weights)


def plan(target: str, draft: str | None, instance: str, tp: int = 0, **more: object) -> PairPlan:
    return plan_pair(request(target, draft, instance, tp, **more))  # type: ignore[arg-type]  # names are `request`'s own


# Against what was published


@pytest.mark.parametrize(("target", "draft"), [("Llama-2-70B", "Llama-2-7B"), ("Llama-3-70B", "Llama-3-8B")])
@pytest.mark.parametrize("instance", ["inf2.48xlarge", "trn1.32xlarge"])
def test_the_pairs_of_the_post_take_what_it_says(target: str, draft: str, instance: str) -> None:
    """AWS Machine Learning Blog, 5 August 2024: about 200 GB for the weights and KV caches of both, on these instances.

    The post rounds, and names neither positions nor batch. Ours are 162 to 171 GB at batch 1 and 2048 positions, of which 154
    (Llama 2) or 157 GB are the checkpoints: 15 to 19 % below it. Its figure is met where caches grow to 40 GB, at some 20,000
    positions in all. Hence the tolerance of 20 %.
    """
    found = plan(target, draft, instance)
    assert found.fits
    assert found.all_cores_bytes / GB == pytest.approx(200, rel=0.2)
    long = plan(target, draft, instance, positions=20_480)
    assert long.fits
    assert long.all_cores_bytes / GB == pytest.approx(200, rel=0.06)


@pytest.mark.parametrize(("positions", "off"), [(2048, 0.003), (4096, 0.034)])
def test_a_full_core_held_the_tensors_that_the_planner_counts(positions: int, off: float) -> None:
    """github.com/aws-neuron/transformers-neuronx issue 92: Llama-3-70B alone on 12 cores of inf2.24xlarge, out of memory at
    15.972 GiB, of which 13.170 GiB tensors. At 2048 positions, the library's default, ours are 0.3 % below, at 4096 3.3 %
    above. Either way the planner says beforehand that it does not fit."""
    found = plan("Llama-3-70B", None, "inf2.24xlarge", 12, positions=positions)
    assert found.tensor_bytes / GIB == pytest.approx(13.170, rel=off)
    assert not found.fits


def test_another_full_core_with_four_replies_at_once() -> None:
    """Issue 49 there: Llama 2 7B on two cores, batch 4, 8.216 GiB tensors and 6.518 GiB DMA rings. The planner's cache is
    for batch 1, so it counts fourfold; the rest, inputs and outputs, is within 2 %. Its overhead of 7.8 GiB is the case of
    which the plan warns."""
    found = plan("Llama-2-7B", None, "inf2.8xlarge", 2, dtype="f16")
    assert (found.target.weights_bytes + 4 * found.target.kv_bytes) / GIB == pytest.approx(8.216, rel=0.02)


@pytest.mark.parametrize(
    ("target", "draft", "gigabytes", "fits"),
    [
        ("Llama-3-8B", "Llama-3.2-1B", 8.9, True),
        ("Llama-2-7B", "TinyLlama-1.1B", 8.2, True),
        ("Llama-2-13B", "TinyLlama-1.1B", 14.75, False),
    ],
)
@pytest.mark.parametrize("instance", ["inf2.xlarge", "inf2.8xlarge", "trn1.2xlarge"])
def test_pairs_on_two_cores(target: str, draft: str, gigabytes: float, fits: bool, instance: str) -> None:
    """Worked by hand from the formula, in decimal GB on each core, before the overhead."""
    found = plan(target, draft, instance)
    assert found.tensor_bytes / GB == pytest.approx(gigabytes, rel=0.01)
    assert found.fits is fits


# The arithmetic


def test_weights_of_one_core_are_the_checkpoint_less_the_embedding() -> None:
    """Without padding nothing is lost or doubled: the head counts, tied or not, the embedding table does not."""
    for shape in KNOWN.values():
        table = shape.vocabulary * shape.hidden
        found = plan_pair(PairRequest(shape, None, neuron_host("inf2.xlarge"), NeuronSettings(tp_degree=1)))
        untied = shape.parameters + (table if shape.tied else 0)
        assert found.target.weights_bytes == 2 * (untied - table)


def test_the_kv_cache_is_one_for_all_graphs_and_grows_with_replication() -> None:
    few = plan_pair(replace(request("Llama-3-8B", None, "inf2.24xlarge", 8)))
    many_windows = NeuronSettings(tp_degree=8, windows=(2, 3, 4, 5, 6, 7, 8))
    many = plan_pair(PairRequest(KNOWN["Llama-3-8B"], None, neuron_host("inf2.24xlarge"), many_windows))
    assert few.target.kv_bytes == many.target.kv_bytes == 2 * 2 * 32 * 2048 * 1 * 128
    assert many.graphs == 2 * 8 + 3 != few.graphs
    twelve = plan("Llama-3-8B", None, "inf2.24xlarge", 12)
    assert twelve.target.kv_bytes * 12 == 4.5 * few.target.kv_bytes * 8


@pytest.mark.parametrize(("dtype", "factor"), [("bf16", 1), ("f16", 1), ("f32", 2)])
def test_wider_numbers_take_more(dtype: str, factor: int) -> None:
    narrow, found = (
        plan("Llama-2-7B", "TinyLlama-1.1B", "inf2.48xlarge", dtype=one) for one in ("bf16", dtype)
    )
    assert found.tensor_bytes == factor * narrow.tensor_bytes


def test_int8_halves_the_layers_and_neither_head_nor_cache() -> None:
    shape = KNOWN["Llama-3-8B"]
    stored, narrow = (plan("Llama-3-8B", None, "inf2.xlarge", weights=one) for one in ("auto", "int8"))
    layers = shape.layers * (shape.layer_parameters - 2 * shape.hidden)
    assert stored.target.weights_bytes - narrow.target.weights_bytes == layers // 2
    assert stored.target.kv_bytes == narrow.target.kv_bytes
    assert (stored.target.weights, narrow.target.weights) == ("bf16", "int8")


def test_no_degree_means_every_core() -> None:
    for host in HOSTS:
        assert plan("Llama-2-7B", None, host.name).settings.tp_degree == host.cores


def test_a_degree_that_divides_nothing_pads_heads_mlp_and_vocabulary() -> None:
    """Llama-2-7B over 24 cores: 48 query and key/value heads of 128, an MLP of 11,016 for 11,008, 32,016 pieces for 32,000."""
    found = plan("Llama-2-7B", None, "inf2.48xlarge", 24)
    layer = 4 * 4096 * 48 * 128 + 3 * 4096 * 11_016
    norms = (2 * 32 + 1) * 4096
    assert found.target.weights_bytes == 2 * (32 * layer + 4096 * 32_016) // 24 + 2 * norms


# The host


def test_host_memory_holds_the_float32_embeddings_and_a_layer() -> None:
    found = plan("Llama-3-8B", "Llama-3.2-1B", "inf2.xlarge")
    assert found.ram.embeddings_bytes == (4096 + 2048) * 128_256 * 4
    assert found.ram.staging_bytes == KNOWN["Llama-3-8B"].layer_parameters * 4
    assert found.ram.available_bytes == 16 * GIB
    assert found.ram.compiling_bytes <= found.ram.available_bytes
    assert found.ram.workers == 2


def test_a_checkpoint_that_is_read_as_a_whole_may_not_fit_the_host() -> None:
    whole = replace(KNOWN["Llama-3-8B"], checkpoint_bytes=16 * GB, eager=True)
    lazy = replace(whole, eager=False)
    small, settings = neuron_host("inf2.xlarge"), NeuronSettings()
    read_whole = plan_pair(PairRequest(whole, None, small, settings))
    assert read_whole.fits_device
    assert not read_whole.fits
    assert "host memory" in read_whole.verdict
    assert plan_pair(PairRequest(lazy, None, small, settings)).fits


def test_disk_counts_the_files_that_are_there() -> None:
    shape = replace(KNOWN["Llama-2-7B"], checkpoint_bytes=13_476_853_254)
    counted = plan_pair(PairRequest(shape, None, neuron_host("inf2.xlarge"), NeuronSettings()))
    estimated = plan("Llama-2-7B", None, "inf2.xlarge")
    assert (counted.disk.checkpoint_bytes, counted.disk.checkpoints_known) == (13_476_853_254, True)
    assert (estimated.disk.checkpoint_bytes, estimated.disk.checkpoints_known) == (2 * 6_738_415_616, False)
    assert counted.disk.artefact_bytes > 0


# What is said


def words(found: PairPlan) -> str:
    return " ".join((*found.obstacles, *found.warnings))


def test_twelve_cores_and_eight_key_heads_are_warned_of() -> None:
    assert "replicated to 72" in words(plan("Llama-3-70B", None, "inf2.24xlarge", 12))
    assert "replicated to 36" in words(plan("Llama-2-7B", "Llama-3.2-1B", "inf2.24xlarge", 12))
    one_for_each_core = plan("Llama-3-70B", None, "trn1.32xlarge", 32)
    assert one_for_each_core.target.padded == (64, 32)
    assert "replicated" not in words(one_for_each_core)
    for tp in (2, 4, 8):
        assert "replicated" not in words(plan("Llama-3-8B", None, "inf2.24xlarge", tp))
    assert "replicated" not in words(
        plan("Llama-2-13B", None, "inf2.24xlarge", 12)
    )  # padded, nothing shared is copied


@pytest.mark.parametrize(
    ("instance", "tp"), [("inf2.xlarge", 3), ("inf2.xlarge", 4), ("trn1.32xlarge", 4), ("trn1.32xlarge", 12)]
)
def test_a_degree_that_the_instance_cannot_do_is_an_obstacle(instance: str, tp: int) -> None:
    found = plan("Llama-3.2-1B", None, instance, tp)
    assert not found.fits
    assert f"not over {tp}" in found.verdict


def test_degrees_on_which_the_lists_differ_are_warned_of() -> None:
    assert "error text" in words(plan("Llama-3-8B", None, "trn1.32xlarge", 16))
    assert "developer guide" not in words(plan("Llama-3-8B", None, "inf2.24xlarge", 8))


def test_a_draft_on_many_cores_is_warned_of() -> None:
    assert "same 32 cores" in words(plan("Llama-2-70B", "Llama-2-7B", "trn1.32xlarge"))
    assert "same 2 cores" not in words(plan("Llama-2-7B", "TinyLlama-1.1B", "inf2.xlarge"))


def test_vocabularies_of_other_sizes_are_an_obstacle() -> None:
    found = plan("Llama-3-8B", "TinyLlama-1.1B", "inf2.24xlarge", 8)
    assert not found.fits
    assert "128,256" in found.verdict
    assert "32,000" in found.verdict


def test_vocabularies_of_one_size_that_differ_are_an_obstacle() -> None:
    """Size alone is no proof. A name and a file cannot be compared, and nothing is claimed of them."""

    def found(target: ModelShape, draft: ModelShape) -> PairPlan:
        return plan_pair(PairRequest(target, draft, neuron_host("inf2.xlarge"), NeuronSettings()))

    large, small = (
        replace(KNOWN["TinyLlama-1.1B"], name=name, vocabulary_id="a") for name in ("large", "small")
    )
    assert found(large, small).fits
    assert "different ids" in found(large, replace(small, vocabulary_id="b")).verdict
    assert found(large, replace(small, vocabulary_id=None)).fits
    assert found(large, KNOWN["TinyLlama-1.1B"]).fits


def test_a_model_that_the_library_cannot_run_is_an_obstacle_for_that_library_alone() -> None:
    shape = replace(KNOWN["Llama-3-8B"], name="Other", obstacle="it is of another kind")
    asked = PairRequest(shape, None, neuron_host("inf2.xlarge"), NeuronSettings())
    assert (
        plan_pair(asked).verdict
        == "Cannot run: transformers-neuronx cannot run Other: it is of another kind."
    )
    successor = plan_pair(replace(asked, settings=NeuronSettings(library="nxdi")))
    assert successor.fits
    assert successor.target.graphs == 5, "two token buckets with a window each, three context buckets"
    assert successor.assumptions[-1].startswith("One window")


def test_a_context_beyond_the_training_and_f16_on_13b_are_warned_of() -> None:
    assert "trained for 8,192" in words(plan("Llama-3-8B", None, "trn1.32xlarge", positions=16_384))
    assert "computes wrongly" in words(plan("Llama-2-13B", None, "trn1.32xlarge", dtype="f16")).replace(
        "compute ", "computes "
    )
    assert "wrongly" not in words(plan("Llama-2-13B", None, "trn1.32xlarge"))


def test_int8_is_planned_for_and_not_promised() -> None:
    assert "refuses int8" in words(plan("Llama-3-8B", None, "inf2.xlarge", weights="int8"))
    assert "int8" not in words(plan("Llama-3-8B", None, "inf2.xlarge"))


def test_little_to_spare_is_said() -> None:
    tight, roomy = (
        plan("Llama-3-8B", "Llama-3.2-1B", "inf2.xlarge"),
        plan("Llama-3-8B", "Llama-3.2-1B", "inf2.24xlarge", 8),
    )
    assert (tight.fits, tight.is_tight, roomy.is_tight) == (True, True, False)
    assert "up to 7.8 GiB" in words(tight)


def test_a_machine_too_small_to_compile_on_is_warned_of() -> None:
    found = plan("Llama-2-70B", "Llama-2-7B", "inf2.xlarge")
    assert "prepare the pair" not in words(found)
    eager = replace(KNOWN["Llama-3-8B"], checkpoint_bytes=6 * GIB, eager=True)
    cramped = plan_pair(PairRequest(eager, None, neuron_host("inf2.xlarge"), NeuronSettings()))
    assert cramped.fits
    assert "prepare the pair on a larger machine" in words(cramped)


def test_context_graphs_longer_than_any_that_ran_are_not_promised() -> None:
    """github.com/aws-neuron/aws-neuron-samples issue 96: Llama-3.1-8B, tp 8, 16,384 positions, allocation failure."""
    found = plan("Llama-3.1-8B", None, "inf2.24xlarge", 8, positions=16_384)
    assert found.tensor_bytes / GIB < 3
    assert "untried" in found.verdict
    assert "issue 96" in words(found)
    short = NeuronSettings(tp_degree=8, positions=16_384, context_buckets=(128, 2048))
    buckets = plan_pair(replace(request("Llama-3.1-8B", None, "inf2.24xlarge"), settings=short))
    assert "untried" not in buckets.verdict + words(buckets)
