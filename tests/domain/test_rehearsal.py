"""What paces a rehearsal: published figures where there are any, stated assumptions between them, and a clear refusal."""

from __future__ import annotations

import itertools

import pytest

from chatapp.domain.errors import InvalidSetting
from chatapp.domain.metrics import Metrics, Provenance, combined_metrics, run_metrics, run_traffic
from chatapp.domain.neuron_hosts import HOSTS, published_pair
from chatapp.domain.rehearsal import DEFAULT_PAIR, PAIRS, RehearsedPair, rehearsal_at, rehearsed_pair
from chatapp.resources import resource_path
from tests.helpers.records import RunScript

DEVICE = rehearsed_pair("trn1.32xlarge").device
ALL = [
    rehearsed_pair(host.name, name)
    for host in HOSTS
    for name, sides in PAIRS.items()
    if published_pair(host.name, *sides) is not None
]


@pytest.mark.parametrize(
    ("name", "target_ms", "draft_ms"), [("llama-2-70b+7b", 20.6, 3.7), ("llama-3-70b+8b", 21.4, 4.7)]
)
def test_one_token_takes_what_was_published(name: str, target_ms: float, draft_ms: float) -> None:
    pair = rehearsed_pair("trn1.32xlarge", name)
    assert (pair.target.launch_ms("token", 1), pair.draft.launch_ms("token", 1)) == (target_ms, draft_ms)
    assert DEFAULT_PAIR == "llama-2-70b+7b"


def test_prompts_take_the_published_time_to_the_first_token() -> None:
    trainium, inferentia = rehearsed_pair("trn1.32xlarge"), rehearsed_pair("inf2.48xlarge")
    assert [trainium.target.launch_ms("context", n) for n in (1, 128, 2048)] == [53.9, 53.9, 691.0]
    assert trainium.target.prompt_ms(512) == pytest.approx(53.9 + (691.0 - 53.9) * 384 / 1920)
    assert [inferentia.target.prompt_ms(n) for n in (256, 1024)] == [96.4, 277.0]
    assert (trainium.draft.prompt_ms(128), inferentia.draft.prompt_ms(128)) == (13.3, 27.6)
    assert trainium.draft.prompt_ms(2048) == pytest.approx(13.3 * 691.0 / 53.9)
    beyond = inferentia.target.prompt_ms(4096)
    assert beyond == pytest.approx(810.4 + (810.4 - 277.0) * 2)


@pytest.mark.parametrize("pair", ALL, ids=lambda pair: pair.device)
def test_windows_lie_between_a_token_and_the_shortest_prompt(pair: RehearsedPair) -> None:
    for side in (pair.target, pair.draft):
        times = [side.launch_ms("spec", rows) for rows in range(1, 65)]
        assert times[0] == side.token_ms
        assert times[-1] == pytest.approx(side.prompt_ms(128))
        assert all(shorter < longer for shorter, longer in itertools.pairwise(times))
        assert times[7] < 1.25 * side.token_ms or side is pair.draft


@pytest.mark.parametrize("pair", ALL, ids=lambda pair: pair.device)
def test_every_figure_says_whether_it_was_published_or_assumed(pair: RehearsedPair) -> None:
    facts = dict(pair.facts)
    assert (
        f"target {pair.target.token_ms:g} ms, draft {pair.draft.token_ms:g} ms: published"
        in facts["One token"]
    )
    assert pair.published.target.source in facts["One token"]
    assert ("assumed: as published of Llama-2-70B" in facts["Prompt of 128 tokens"]) == (
        "Llama-3" in pair.device
    )
    assert "assumed" in facts["Verify passes of 2, 4, 8, 16 rows"]
    assert rehearsal_at(pair.device) == pair


def test_a_device_that_is_no_rehearsal() -> None:
    assert rehearsal_at("cpu: something") is None
    assert "simulated trn1.32xlarge, paced as Llama-2-70B + Llama-2-7B" in DEVICE


@pytest.mark.parametrize(
    ("instance", "pair", "why"),
    [
        ("trn1.2xlarge", DEFAULT_PAIR, "No latencies of llama-2-70b+7b were published for trn1.2xlarge."),
        ("p5.48xlarge", DEFAULT_PAIR, "There is no instance type p5.48xlarge"),
        ("trn1.32xlarge", "gpt", "There is no pair gpt"),
    ],
)
def test_what_cannot_be_rehearsed_is_told_with_what_can(instance: str, pair: str, why: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        rehearsed_pair(instance, pair)
    assert why in refused.value.what
    assert "trn1.32xlarge with llama-2-70b+7b or llama-3-70b+8b" in refused.value.what
    assert "inf2.48xlarge with llama-2-70b+7b or llama-3-70b+8b" in refused.value.what


def metrics_of(device: str = "") -> Metrics:
    record = RunScript(window=3, device=device).first("a").verify([" b", " c"], " d").end().record()
    assert record.simulated == bool(device)
    return run_metrics(record)


def test_simulated_and_measured_times_never_make_one_figure() -> None:
    measured, simulated = metrics_of(), metrics_of(DEVICE)
    assert (measured.provenance, simulated.provenance) == (Provenance.MEASURED, Provenance.SIMULATED)
    assert combined_metrics([simulated, Metrics(), simulated]).tpot_s == pytest.approx(simulated.tpot_s)
    assert combined_metrics([Metrics(), simulated]).provenance is Provenance.SIMULATED
    for parts in ([measured, simulated], [simulated, measured, measured], [measured, Metrics(), simulated]):
        mixed = combined_metrics(parts)
        assert mixed.provenance is Provenance.MIXED
        assert mixed.ttft_s is mixed.tpot_s is mixed.tokens_per_s is None
        assert mixed.tokens == sum(part.tokens for part in parts)
        assert mixed.mean_acceptance_length == 3.0


def test_a_simulated_run_has_no_memory_traffic() -> None:
    script = RunScript(window=3, device=DEVICE).first("a").verify([" b", " c"], " d").end()
    assert run_traffic(script.record()).verify_rate is None
    assert run_traffic(RunScript(window=3).first("a").verify([" b"], " d").end().record()).verify_rate


def test_the_guide_s_table_is_what_the_rehearsal_does() -> None:
    page = resource_path("help", "rehearsal.md").read_text(encoding="utf-8")
    rows = {cells[0]: cells[1:] for cells in map(_cells, page.splitlines()) if len(cells) == 5}
    order = [rehearsed_pair(host, name) for host in ("trn1.32xlarge", "inf2.48xlarge") for name in PAIRS]
    for place, pair in enumerate(order):
        assert pair.instance in rows[""][place]
        assert rows["one token, target"][place] == f"{pair.target.token_ms:g} published"
        assert rows["one token, draft"][place].startswith(f"{pair.draft.token_ms:g} published")
        for side, row in ((pair.target, "prompt of 128, target"), (pair.draft, "prompt of 128, draft")):
            kind = "published" if "Llama-2" in side.name else "assumed, as Llama-2"
            assert rows[row][place] == f"{side.prompt_ms(128):g} {kind}"
        assert rows["prompt of 2,048, target"][place].startswith(f"{pair.target.prompt_ms(2048):g} ")
        windows = ", ".join(f"{pair.target.window_ms(rows):.1f}" for rows in (2, 4, 8, 16))
        assert rows["verify pass of 2, 4, 8, 16 rows"][place] == f"{windows} assumed"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
