"""Topics of the guide: the classes of tokens, the verify step and the acceptors.

Data only.  It must not know how questions are framed.
"""

from __future__ import annotations

from .guide_topic import Follow, Topic

ACCEPTED = Topic(
    name="accepted",
    full="An accepted token was proposed by the draft and kept by the target. It is green with a solid underline. Many "
    "accepted tokens mean that speculation pays.",
    short="An accepted token was proposed by the draft and kept by the target.",
    simple="An accepted token was proposed by the draft and kept by the target. The small model guessed right, so the "
    "token came almost for free.",
    needs=("accepted token was proposed",),
    things=("an accepted token", "accepted", "a green token", "the green colour", "green"),
    plural=("accepted tokens", "green tokens", "the green tokens", "accepted drafts"),
    asks=(
        "why are [some|these|many|the] [words|tokens] green",
        "why is [the text|this word|some text] green",
        "who wrote the green tokens",
        "when is a token [accepted|green]",
    ),
    keywords=("accepted", "green", "accepted token", "green tokens"),
    why=Follow(
        "Because the draft guessed what the target would write, so the token passed the test.",
        ("passed the test",),
    ),
    better=Follow(
        "Yes, more green is better: each accepted token saves a target pass.", ("more green is better",)
    ),
)

CORRECTION = Topic(
    name="correction",
    full="A correction is the token that the target writes after it has rejected a draft. It is sampled from the "
    "residual. It is red with a wavy underline.",
    short="A correction is the token that the target writes after it has rejected a draft.",
    simple="A correction is the token that the target writes after it has rejected a draft. The small model was wrong, "
    "and the large model put it right.",
    needs=("correction is the token that the target writes",),
    things=(
        "a correction",
        "correction",
        "the correction token",
        "a red token",
        "the red colour",
        "red",
        "an orange token",
    ),
    plural=("corrections", "correction tokens", "red tokens", "the red tokens", "orange tokens"),
    asks=(
        "why are [some|these|many|the] [words|tokens] red",
        "why is [the text|this word|some text] red",
        "who wrote the red tokens",
        "when does a [correction|red token] come",
        "what happens after a rejection",
        "what happens when a draft is rejected",
    ),
    keywords=("correction", "red", "correction token", "red tokens"),
    why=Follow(
        "Because the draft wanted a token that the target did not want there, so the target chose its own.",
        ("target chose its own",),
    ),
    better=Follow(
        "No, fewer corrections are better: each one ends its window early.", ("fewer corrections are better",)
    ),
    compute=Follow(
        "The residual is the target probability minus the draft probability, where that is above zero, scaled to sum to one.",
        ("the residual is",),
    ),
)

BONUS = Topic(
    name="bonus",
    full="A bonus is one more token from the target, given after every draft of the window was accepted. The same target "
    "pass yields it, so it costs nothing extra. It is blue with a double underline.",
    short="A bonus is one more token from the target, given after every draft of the window was accepted.",
    simple="A bonus is one more token from the target. You get it as a gift when the draft was right about the whole window.",
    needs=("bonus is one more token from the target",),
    things=("a bonus", "bonus", "the bonus token", "a blue token", "the blue colour", "blue"),
    plural=("bonus tokens", "blue tokens", "the blue tokens", "bonuses"),
    asks=(
        "why are [some|these|many|the] [words|tokens] blue",
        "why is [the text|this word|some text] blue",
        "who wrote the blue tokens",
        "when does a [bonus|blue token] come",
        "when do I get a bonus",
        "what happens when [all|all the] drafts are accepted",
    ),
    keywords=("bonus", "blue", "bonus token", "blue tokens"),
    why=Follow(
        "Because the target has already looked one place past the last draft, so its next token is ready.",
        ("one place past the last draft",),
    ),
    better=Follow(
        "Yes, a bonus is good: it means that the whole window was right. With many bonuses you can raise k.",
        ("with many bonuses",),
    ),
    example=Follow(
        "With k = 5 the draft proposes 4 tokens. All 4 are kept, and the target adds a fifth: that is the bonus.",
        ("the target adds a fifth",),
    ),
)

TARGET_TOKEN = Topic(
    name="target_token",
    full="A target token is written by the target alone, with no speculation. The first token of a reply is one, and so "
    "is every token while speculation is off. It is grey with a dotted underline.",
    short="A target token is written by the target alone, with no speculation.",
    simple="A target token is written by the target alone. The small model had no part in it.",
    needs=("target token is written by the target alone",),
    things=("a target token", "a grey token", "the grey colour", "grey", "a plain token"),
    plural=("target tokens", "grey tokens", "the grey tokens", "plain tokens"),
    asks=(
        "why are [some|these|many|the] [words|tokens] [grey|plain]",
        "why is [the text|this word|some text] [grey|plain]",
        "why is the first token [grey|plain]",
        "who wrote the grey tokens",
    ),
    keywords=("target token", "grey", "grey tokens", "target tokens"),
    why=Follow(
        "Because the first token comes straight from reading the prompt, before the draft has proposed anything.",
        ("straight from reading the prompt",),
    ),
)

REJECTED = Topic(
    name="rejected",
    full="Rejected drafts are tokens that the draft proposed and the target did not keep. They are never in the text, "
    "but they are in the record. Hover a correction to see what the draft wanted.",
    short="Rejected drafts are tokens that the draft proposed and the target did not keep.",
    simple="Rejected drafts are wrong guesses of the small model. The target did not keep them, and you never see them in the text.",
    needs=("rejected drafts are",),
    things=("a rejected draft", "a rejected token", "a rejection"),
    plural=("rejected drafts", "rejected tokens", "rejections", "the rejected drafts"),
    asks=(
        "[where are|what happens to|where do I see|can I see] [rejected|the rejected] [drafts|tokens]",
        "why is a draft rejected",
        "are rejected [drafts|tokens] in the [text|record]",
    ),
    keywords=("rejected", "rejected drafts", "rejected tokens"),
    where=Follow(
        "You find rejected drafts in the record and in the exported JSON.", ("find rejected drafts in",)
    ),
    better=Follow(
        "No, fewer rejections are better: a rejected draft is lost work.", ("fewer rejections are better",)
    ),
)

COLOURS = Topic(
    name="colours",
    full="The colours show who made each token. Green is an accepted draft, red a correction, blue a bonus and grey a "
    "target token. Each has its own underline. The legend is in the View menu, or press Ctrl+L.",
    short="The colours show who made each token: green accepted, red correction, blue bonus, grey target.",
    simple="The colours show who made each token. Green came from the small model; red, blue and grey came from the large one.",
    needs=("colours show who made each token",),
    things=("the legend", "the colour code", "the colour of a token"),
    plural=(
        "the colours",
        "the colors",
        "colours",
        "the coloured words",
        "the underlines",
        "the marks under the words",
        "the token classes",
    ),
    acts=("[show|hide|open|switch off] the legend", "read the colours"),
    asks=(
        "why is the text [coloured|underlined]",
        "why [are the words coloured|do the words have colours|are the words underlined]",
        "which colours are there",
        "where is the legend",
        "what do [green and red|red and blue|the different colours] mean",
    ),
    keywords=("colours", "legend", "underlines", "ctrl+l", "colors"),
    key=Follow("Yes, Ctrl+L shows and hides the legend.", ("ctrl+l shows and hides",)),
    why=Follow(
        "Because you can then see at once where the draft was right and where the target had to step in.",
        ("the target had to step in",),
    ),
)

VERIFY_STEP = Topic(
    name="verify_step",
    full="A verify step is one target pass over all drafted tokens of the window. The target tests them in order, keeps "
    "them up to the first rejection, and adds one token of its own.",
    short="A verify step is one target pass over all drafted tokens of the window.",
    simple="A verify step is one target pass over all drafted tokens. The large model reads the guesses together and "
    "says which ones are right.",
    needs=("verify step is one target pass",),
    things=("a verify step", "the verify step", "verification", "one step", "a target pass"),
    plural=("verify steps", "the verify steps", "the steps in the plot", "the bars in the plot"),
    asks=(
        "how does the target [verify|check|test] [the drafts|the drafted tokens]",
        "what happens in [a|one] [verify step|step]",
        "what is one bar in the plot",
    ),
    keywords=("verify step", "verify", "target pass"),
    example=Follow(
        "The draft proposes 4 tokens, the target keeps 2 and rejects the third. It writes a correction, so the step commits 3 tokens.",
        ("the step commits 3 tokens",),
    ),
)

ACCEPTORS = Topic(
    name="acceptors",
    full="An acceptor is the rule that decides which drafts are kept. There are rejection, coupled and greedy; greedy is "
    "used at temperature 0. You choose the acceptor in the settings panel at the right.",
    short="An acceptor is the rule that decides which drafts are kept: rejection, coupled or greedy.",
    simple="An acceptor is the rule that decides which drafts are kept. Take rejection if you are not sure.",
    needs=("acceptor is the rule that decides which drafts",),
    things=("an acceptor", "the acceptor", "the acceptor setting"),
    plural=("acceptors", "the acceptors", "the different acceptors"),
    acts=("[choose|pick|change|set] [the|an] acceptor",),
    asks=(
        "which acceptors [are there|can I use|do you have]",
        "which acceptor should I [use|take|choose]",
        "who decides which drafts are kept",
    ),
    keywords=("acceptor", "acceptors", "which acceptor"),
    where=Follow("You find the acceptor in the settings panel at the right.", ("find the acceptor in",)),
)

REJECTION = Topic(
    name="rejection",
    full="The rejection acceptor keeps a draft token with probability min(1, target / draft). If it is rejected, the "
    "correction comes from the residual. So the text follows the target exactly.",
    short="The rejection acceptor keeps a draft token with probability min(1, target / draft).",
    simple="The rejection acceptor keeps a draft token if the target likes it at least as much as the draft. If not, it "
    "keeps it only sometimes.",
    needs=("rejection acceptor keeps a draft token",),
    things=("the rejection acceptor", "the rejection rule", "rejection sampling", "the acceptor rejection"),
    asks=(
        "how does [the rejection acceptor|the rejection rule|rejection sampling] work",
        "with what probability is a draft [kept|accepted]",
        "what does [the rejection acceptor|the rejection rule] do",
    ),
    keywords=("rejection acceptor", "rejection rule", "rejection sampling"),
    example=Follow(
        "If the draft gave a token 0.8 and the target gives it 0.4, it is kept in half of the cases.",
        ("in half of the cases",),
    ),
)

COUPLED = Topic(
    name="coupled",
    full="The coupled acceptor lets target and draft share the same random noise. For one seed it writes the same text "
    "for every k and with speculation off, so it is good for comparing.",
    short="The coupled acceptor shares random noise, so one seed gives the same text for every k.",
    simple="The coupled acceptor lets both models roll the same dice. So the text stays the same, and only the speed changes.",
    needs=("coupled acceptor",),
    never=("send the same prompt", "stops the draft"),
    things=("the coupled acceptor", "coupled", "coupled sampling", "the acceptor coupled"),
    asks=(
        "how does [the coupled acceptor|coupled|coupled sampling] work",
        "what does [the coupled acceptor|coupled] do",
        "when should I [use|take|choose] [coupled|the coupled acceptor]",
        "how do I get the same text for every k",
    ),
    keywords=("coupled", "coupled acceptor", "coupled sampling"),
    why=Follow(
        "Because the noise depends only on the seed and the place, not on k.",
        ("only on the seed and the place",),
    ),
)

GREEDY = Topic(
    name="greedy",
    full="Greedy is used at temperature 0. The target always takes its most likely token, and a draft is kept only if it "
    "is that token. The text is the same with and without speculation.",
    short="Greedy is used at temperature 0 and always takes the most likely token.",
    simple="Greedy is used at temperature 0. There is no chance in it: the same prompt gives the same text each time.",
    needs=("greedy is used at temperature 0",),
    never=("acceptor is the rule",),
    things=(
        "greedy",
        "greedy sampling",
        "greedy decoding",
        "the greedy acceptor",
        "temperature 0",
        "temperature zero",
    ),
    asks=(
        "how does greedy [sampling|decoding|] work",
        "what happens at temperature [0|zero]",
        "how do I get the most likely [text|token]",
        "how do I switch chance off",
    ),
    keywords=("greedy", "temperature 0", "greedy decoding"),
)

TOPICS = (
    ACCEPTED,
    CORRECTION,
    BONUS,
    TARGET_TOKEN,
    REJECTED,
    COLOURS,
    VERIFY_STEP,
    ACCEPTORS,
    REJECTION,
    COUPLED,
    GREEDY,
)
