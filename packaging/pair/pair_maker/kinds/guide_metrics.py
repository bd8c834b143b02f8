"""Topics of the guide: the window k and the numbers beside the chat.

Data only.  It must not know how questions are framed.
"""

from __future__ import annotations

from .guide_topic import Follow, Topic

WINDOW = Topic(
    name="window",
    full="k is the window: the number of tokens that one target pass can yield. One token is guaranteed by the "
    "target, and up to k minus 1 are drafted. With k = 1 there is no speculation.",
    short="k is the window, the number of tokens that one target pass can yield.",
    simple="k is the window: how many tokens one target pass can yield. A window of 4 means that the draft proposes "
    "up to 3 tokens and the target adds one of its own.",
    needs=("k is the window", "target pass can yield"),
    things=("k", "the window", "the window k", "the letter k", "the number k", "the k value"),
    asks=(
        "what does [k|the window|the number k] [do|stand for|tell me]",
        "how many tokens can one [step|target pass|pass] yield",
        "how big is [the window|k]",
    ),
    keywords=("k", "window", "window k", "what k", "k meaning"),
    better=Follow(
        "Not always. A larger k pays only while the draft is right; after a rejection the rest of the window is lost work.",
        ("larger k pays only",),
    ),
    example=Follow(
        "With k = 4 the draft proposes 3 tokens. If all 3 are kept, the target adds a bonus, and the step commits 4 tokens.",
        ("with k = 4",),
    ),
    where=Follow("You find k on the slider below the chat. It goes from 2 to 16.", ("find k on the slider",)),
)

BEST_K = Topic(
    name="best_k",
    full="The best k depends on the text. Easy text such as lists, code and repetition likes a large k; hard text such "
    "as names, digits and high temperature likes a small one. Try a few values and keep the one with the lowest TPOT.",
    short="The best k depends on the text: large for easy text, small for hard text.",
    simple="The best k depends on the text. If most tokens are green, move k up. If many are red, move k down.",
    needs=("best k depends on the text",),
    things=("the best k", "the best window", "the best value of k"),
    acts=("[choose|pick|find|set] [the best k|a good k|the right k|the right window]",),
    asks=(
        "which [k|window] is [best|good|right|the fastest]",
        "what [k|window] should I [use|take|choose|set]",
        "how [large|big] should [k|the window] be",
        "should I use a [small|large] [k|window]",
        "what is a good [k|window] for [code|lists|stories|names]",
    ),
    keywords=("best k", "good k", "right window", "which k"),
    why=Follow(
        "Because a draft guesses easy text well and hard text badly, and only kept guesses save time.",
        ("only kept guesses save time",),
    ),
    example=Follow(
        "For a list or for code try k = 8; for a story with many names try k = 3.", ("try k = 8", "try k = 3")
    ),
)

LARGE_K = Topic(
    name="large_k",
    full="Too large a k wastes draft work. After the first rejection the rest of the window is thrown away, but the "
    "draft has already spent its time on it. If acceptance is low, lower k.",
    short="Too large a k wastes draft work, because all drafts after a rejection are thrown away.",
    simple="Too large a k wastes draft work. The draft writes many tokens, the target keeps only a few, and you wait "
    "for tokens that nobody uses.",
    needs=("too large a k wastes draft work",),
    things=("the cost of a large k", "the trouble with a large k", "the cost of a large window"),
    asks=(
        "why is [a large k|a big window|k = 16|too large a k|a large window|a high k] [bad|slow|slower|not better|not good]",
        "why not [always use|always take|use|take|set] [k = 16|the largest k|a large window|the largest window]",
        "what happens if [k|the window] is too [large|big|high]",
        "is a [large|larger|big] [k|window] [always|] [better|faster]",
        "can [k|the window] be too [large|big]",
    ),
    keywords=("large k", "k too large", "big window bad", "k = 16"),
    example=Follow(
        "With k = 16 the draft writes 15 tokens. If the second is rejected, 14 of the 15 were written for nothing.",
        ("written for nothing",),
    ),
)

TPOT = Topic(
    name="tpot",
    full="TPOT is the time per output token. It is the time from the first token to the last, divided by the number "
    "of tokens minus 1. Lower is faster.",
    short="TPOT is the time per output token: the time from the first token to the last, divided by n minus 1.",
    simple="TPOT is the time per output token. It tells how long you wait, on average, for one more token. A small "
    "TPOT means fast text.",
    needs=("tpot is the time per output token",),
    things=("TPOT", "the TPOT", "time per output token", "the time per output token", "the time per token"),
    asks=(
        "what does the TPOT [number|value|plot] [show|mean|tell me]",
        "how long does one [output|] token take",
        "which number tells [me|] how fast the text is",
    ),
    keywords=("tpot", "time per output token", "tpot meaning"),
    compute=Follow(
        "Take the time of the last token, subtract the time of the first token, and divide by the number of tokens minus 1.",
        ("subtract the time of the first token",),
    ),
    better=Follow(
        "No, for TPOT lower is better: less time per token means faster text.", ("for tpot lower is better",)
    ),
    example=Follow(
        "If 11 tokens take 2 seconds from the first to the last, TPOT is 2 divided by 10, so 0.2 seconds.",
        ("so 0.2 seconds",),
    ),
    where=Follow(
        "You find TPOT in the numbers beside the chat and in the plot.", ("find tpot in the numbers",)
    ),
)

TTFT = Topic(
    name="ttft",
    full="TTFT is the time to first token. It is the time from sending your message to the first token of the reply. "
    "The prefill of the prompt is a part of it.",
    short="TTFT is the time to first token, counted from the moment you send your message.",
    simple="TTFT is the time to first token. It tells how long you wait before the reply begins.",
    needs=("ttft is the time to first token",),
    things=("TTFT", "the TTFT", "time to first token", "the time to first token"),
    asks=(
        "what does the TTFT [number|value] [show|mean|tell me]",
        "which number tells [me|] [when the reply begins|how long I wait for the first token]",
        "how long until the [reply begins|first token comes]",
    ),
    keywords=("ttft", "time to first token", "ttft meaning"),
    compute=Follow(
        "Take the time of the first token and subtract the time at which you sent the message.",
        ("subtract the time at which you sent",),
    ),
    better=Follow("No, for TTFT lower is better: the reply begins sooner.", ("for ttft lower is better",)),
    where=Follow(
        "You find TTFT in the numbers beside the chat, next to TPOT.", ("find ttft in the numbers",)
    ),
)

ACCEPTANCE_RATE = Topic(
    name="acceptance_rate",
    full="The acceptance rate is the share of drafted tokens that the target kept: accepted divided by drafted. A high "
    "rate means that the draft guesses well, so speculation saves more time.",
    short="The acceptance rate is accepted divided by drafted, the share of drafted tokens that the target kept.",
    simple="The acceptance rate is the share of drafted tokens that the target kept. If the draft proposes 10 tokens "
    "and 8 are kept, the rate is 0.8.",
    needs=("acceptance rate is", "share of drafted tokens that the target kept"),
    things=("the acceptance rate", "acceptance rate", "the rate of acceptance", "acceptance"),
    asks=(
        "what does the acceptance [rate|number] [show|mean|tell me]",
        "how many [drafts|drafted tokens] are [kept|accepted]",
        "what share of the [drafts|drafted tokens] is kept",
    ),
    keywords=("acceptance", "acceptance rate", "rate of acceptance"),
    compute=Follow(
        "Count the accepted tokens and divide by the number of drafted tokens.",
        ("count the accepted tokens",),
    ),
    better=Follow(
        "Yes, a higher acceptance rate is better: more drafts are kept, and each target pass yields more tokens.",
        ("higher acceptance rate is better",),
    ),
    example=Follow(
        "If 30 tokens were drafted and 24 were kept, the acceptance rate is 0.8.", ("30 tokens were drafted",)
    ),
    where=Follow(
        "You find the acceptance rate in the numbers beside the chat.", ("find the acceptance rate in",)
    ),
)

TESTED_ACCEPTANCE = Topic(
    name="tested_acceptance",
    full="Tested acceptance counts only the drafts that were tested. Drafts after the first rejection are never tested, "
    "so they are left out. It is called alpha and says how often the draft and the target agree.",
    short="Tested acceptance, or alpha, counts only the drafts that were tested.",
    simple="Tested acceptance counts only the drafts that were tested. When one draft is rejected, the ones behind it "
    "are not looked at, so they do not count.",
    needs=("tested acceptance", "counts only the drafts that were tested"),
    things=("tested acceptance", "the tested acceptance", "alpha", "the alpha value"),
    asks=(
        "what does [alpha|tested acceptance] [show|count|tell me]",
        "how is tested acceptance different from the acceptance rate",
        "which drafts [count for|are in] [alpha|tested acceptance]",
    ),
    keywords=("alpha", "tested acceptance", "alpha meaning"),
    compute=Follow(
        "Divide the accepted drafts by the accepted drafts plus the rejected drafts that were tested.",
        ("divide the accepted drafts",),
    ),
    better=Follow(
        "Yes, a higher alpha is better: the draft agrees with the target more often.",
        ("higher alpha is better",),
    ),
    example=Follow(
        "If 3 drafts are tested, 2 kept and 1 rejected, alpha is 2 divided by 3. Drafts behind the rejected one do not count.",
        ("alpha is 2 divided by 3",),
    ),
)

MEAN_LENGTH = Topic(
    name="mean_length",
    full="The mean acceptance length is the number of tokens committed per verify step, on average. It lies between 1 "
    "and k and includes the correction or the bonus.",
    short="The mean acceptance length is the average number of tokens committed per verify step.",
    simple="The mean acceptance length tells how many tokens one verify step brings on average. A value of 3 means "
    "three tokens for one target pass.",
    needs=("mean acceptance length",),
    never=("bonus token", "verify step is"),
    things=(
        "the mean acceptance length",
        "mean acceptance length",
        "the acceptance length",
        "mean length",
        "the mean length",
    ),
    asks=(
        "what does the [mean|acceptance] length [show|mean|tell me]",
        "how many tokens [come|are committed] per [verify step|step] [on average|]",
        "how many tokens does [one|a] [verify step|step] bring [on average|]",
    ),
    keywords=("mean acceptance length", "mean length", "acceptance length"),
    compute=Follow(
        "Divide the committed tokens by the number of verify steps.", ("divide the committed tokens",)
    ),
    better=Follow(
        "Yes, a longer mean length is better: every target pass brings more tokens.",
        ("longer mean length is better",),
    ),
    example=Follow(
        "If 10 verify steps commit 32 tokens, the mean length is 3.2.", ("the mean length is 3.2",)
    ),
    where=Follow("You find the mean length in the numbers beside the chat.", ("find the mean length in",)),
)

TOPICS = (WINDOW, BEST_K, LARGE_K, TPOT, TTFT, ACCEPTANCE_RATE, TESTED_ACCEPTANCE, MEAN_LENGTH)
