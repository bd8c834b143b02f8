"""The command line: corpus and tokenizer, target, draft, evaluation, export, in this order.

Every stage goes on where it was interrupted and does nothing when it is complete.  ``answers`` is no stage of
the way: it prints what the newest target replies to held-out prompts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pair_maker import distillation, evaluation
from pair_maker.export import export_pair
from pair_maker.kinds import KINDS
from pair_maker.progress import StopSignal
from pair_maker.schedule import Schedule
from pair_maker.tokenizer import load_tokenizer
from pair_maker.training import Plan, Trainer, language_objective
from pair_maker.workplace import DRAFT, TARGET, NotThereYet, Workplace

BATCH_TOKENS = 6_144
DRAFT_RATE = 2.0
SHOWN_ANSWERS = 8

Stage = Callable[[Workplace, argparse.Namespace], bool]


def make_corpus(place: Workplace, given: argparse.Namespace) -> bool:
    """Train the tokenizer and make the first shard."""
    place.make_tokenizer()
    shard = place.corpus.shard(0)
    place.log.write("corpus", f"shards of {len(shard)} conversations, {len(shard.ids)} tokens",
                    conversations=len(shard), tokens=len(shard.ids))
    return True


def train_target(place: Workplace, given: argparse.Namespace) -> bool:
    """Train the target; true when its time is up."""
    place.claim()
    plan = Plan("target", TARGET, given.minutes_target, BATCH_TOKENS, Schedule())
    with StopSignal() as stop:
        trainer = Trainer(plan, place.corpus, place.encoder.pad, language_objective, place.target, place.log,
                          time.monotonic, place.device)
        return trainer.run(stop)


def train_draft(place: Workplace, given: argparse.Namespace) -> bool:
    """Distil the draft from the target; true when its time is up."""
    place.claim()
    target = place.trained("target")
    made_from = f"{place.corpus.made_from} {place.digest(place.target)}"

    def say(text: str) -> None:
        place.log.write("talk", text)

    talk = distillation.talk_shard(place.root / "talk.npz", target, place.encoder, made_from, say)
    plan = Plan("draft", DRAFT, given.minutes_draft, BATCH_TOKENS, Schedule(shallow=DRAFT.layers), DRAFT_RATE)
    with StopSignal() as stop:
        trainer = Trainer(plan, distillation.TalkCorpus(place.corpus, talk), place.encoder.pad,
                          distillation.Distillation(target), place.draft, place.log, time.monotonic, place.device)
        return trainer.run(stop)


def evaluate(place: Workplace, given: argparse.Namespace) -> bool:
    """Measure the pair and keep the figures."""
    pair = evaluation.Pair(place.trained("target"), place.trained("draft"), place.encoder)
    figures = evaluation.evaluate(pair, evaluation.Size(), lambda text: place.log.write("evaluate", text))
    for name in ("target", "draft"):
        figures[name]["training"] = place.training(name)
    place.evaluation.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return True


def export(place: Workplace, given: argparse.Namespace) -> bool:
    """Write the pair where the application finds it."""
    if not place.evaluation.exists():
        raise NotThereYet(f"{place.evaluation} is missing: run the stage evaluate first")
    figures = json.loads(place.evaluation.read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(place.tokenizer_directory)
    export_pair(given.out, place.trained("target"), place.trained("draft"), tokenizer, figures)
    place.log.write("export", f"the pair is in {given.out}", out=str(given.out))
    return True


def show_answers(place: Workplace, given: argparse.Namespace) -> bool:
    """Print a few replies of the newest target, and the share that is right, per kind."""
    target = place.trained("target")
    for kind in KINDS:
        judged = evaluation.answers(target, place.encoder, evaluation.held_out(kind.KIND, evaluation.ROWS))
        right = sum(answer.right for answer in judged)
        print(f"\n=== {kind.KIND}: {right} of {len(judged)} right")
        for answer in sorted(judged, key=lambda answer: answer.right)[:SHOWN_ANSWERS]:
            print(f"[{'right' if answer.right else 'WRONG'}]")
            for role, text in (*answer.sample.prompt, ("reply", answer.reply), ("corpus", answer.sample.reply)):
                print(f"  {role}: {text}")
    return True


WAY: dict[str, Stage] = {
    "corpus": make_corpus,
    "target": train_target,
    "draft": train_draft,
    "evaluate": evaluate,
    "export": export,
}
STAGES: dict[str, Stage] = {**WAY, "answers": show_answers}


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(prog="packaging/train-pair", description="Makes the built-in model pair.")
    options.add_argument("--work", type=Path, default=Path("pair-work"), metavar="DIR", help="working directory")
    options.add_argument("--out", type=Path, default=Path("resources/pair"), metavar="DIR", help="where the pair goes")
    options.add_argument("--minutes-target", type=float, default=85.0, metavar="M", help="training time of the target")
    options.add_argument("--minutes-draft", type=float, default=12.0, metavar="M", help="training time of the draft")
    options.add_argument("--threads", type=int, default=0, metavar="N", help="compute threads (0: one per core)")
    options.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options.add_argument("--stage", choices=["all", *STAGES], default="all", help="run this stage alone")
    return options


def main(arguments: list[str]) -> int:
    """Run the stages asked for; 0 when all are complete, 1 when something is missing, 3 when stopped."""
    given = parser().parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if given.device == "auto" else given.device
    place = Workplace(given.work, torch.device(chosen))
    try:
        for name in WAY if given.stage == "all" else [given.stage]:
            if not STAGES[name](place, given):
                return 3
    except NotThereYet as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
