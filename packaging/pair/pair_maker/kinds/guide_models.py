"""Topics of the guide: speculative decoding, its models and where they run.

Data only.  It must not know how questions are framed.
"""

from __future__ import annotations

from .guide_topic import Follow, Topic

SPECULATIVE = Topic(
    name="speculative",
    full="Speculative decoding uses two models. A small draft proposes a few tokens, and the large target checks them all "
    "in one pass. It keeps the ones that fit and writes the next token itself.",
    short="Speculative decoding uses two models: a small draft proposes tokens and the large target checks them in one pass.",
    simple="Speculative decoding uses two models. The small one is quick and guesses ahead; the large one checks the "
    "guesses and has the last word.",
    needs=("speculative decoding uses two models",),
    things=(
        "speculative decoding",
        "speculation",
        "speculative sampling",
        "the idea of speculation",
        "this method",
    ),
    asks=(
        "how does [speculative decoding|speculation|speculative sampling|this method|it all] work",
        "what does speculation do",
        "what is the idea [here|of this app|behind speculation]",
        "how are tokens made [here|in this app]",
    ),
    keywords=("speculative decoding", "speculation", "speculative sampling"),
    why=Follow(
        "Because one large pass can check many tokens in about the time that it needs to write one.",
        ("check many tokens in about the time",),
    ),
    example=Follow(
        "The draft proposes four words, the target agrees with three and corrects the fourth. One pass has given four tokens.",
        ("corrects the fourth",),
    ),
)

FASTER = Topic(
    name="faster",
    full="Speculation is faster because one target pass can yield several tokens. The target is slow per pass, and "
    "checking k tokens costs about as much as writing one. It pays when the draft is cheap and often right.",
    short="Speculation is faster because one target pass can yield several tokens.",
    simple="Speculation is faster because one target pass can yield several tokens. Fewer slow passes mean less waiting.",
    needs=("speculation is faster because",),
    things=("the speed-up", "the gain of speculation", "the advantage of speculation"),
    asks=(
        "why is [speculation|speculative decoding|it|this] [fast|faster|so fast]",
        "how can two models be faster than one",
        "when [does|will] [speculation|speculative decoding] [help|pay|save time]",
        "how does [speculation|speculative decoding] save time",
        "what do I gain from [speculation|speculative decoding|the draft]",
        "how much faster is [it|speculation]",
    ),
    keywords=("faster", "speed-up", "speedup", "why faster"),
    example=Follow(
        "If one pass yields 3 tokens and the drafts cost half a pass, you are about twice as fast.",
        ("about twice as fast",),
    ),
)

LOSSLESS = Topic(
    name="lossless",
    full="The output is not changed. The target checks every drafted token, so the text follows the distribution of "
    "the target exactly. Speculation is lossless: only the speed changes.",
    short="The output is not changed: speculation is lossless and follows the target exactly.",
    simple="The output is not changed. The draft only proposes; the target decides every token. A bad draft makes the "
    "text slower, not worse.",
    needs=("output is not changed",),
    asks=(
        "[is|will] the [output|text|answer|reply] [be|] [changed|worse|different] [with speculation|by the draft|]",
        "does [speculation|the draft|the small model|k] [change|harm|spoil] the [output|text|answer|quality]",
        "is [speculation|speculative decoding|it] lossless",
        "does [the text|the answer|quality] get worse [with speculation|with a draft]",
        "what happens to the [output|text|quality] [with speculation|with a small draft]",
        "how does speculation change the [output|text]",
        "do I lose quality [with speculation|with a small draft|]",
        "is the [text|output] the same [with and without speculation|without the draft]",
    ),
    keywords=("lossless", "same output", "quality", "output changed"),
    why=Follow(
        "Because a drafted token is kept by a rule that gives each token the probability that the target gives it.",
        ("the probability that the target gives it",),
    ),
)

DRAFT_MODEL = Topic(
    name="draft_model",
    full="The draft model is the small model that proposes tokens. It is quick but less exact. The target verifies each "
    "proposal. A draft step should cost at most a fifth of a target step.",
    short="The draft model is the small model that proposes tokens for the target to verify.",
    simple="The draft model is the small model that proposes tokens. Think of it as a quick helper who guesses the next words.",
    needs=("draft model is the small model",),
    things=("the draft model", "a draft model", "the draft", "the small model", "the drafter"),
    asks=(
        "what does the [draft model|draft|small model] do",
        "what is the [draft|small model] [for|good for]",
        "who proposes [the|] tokens",
        "why is there a [small|second] model",
        "why do you need [a draft|a small model|two models]",
    ),
    keywords=("draft", "draft model", "small model", "drafter"),
    why=Follow(
        "Because a small model needs far less time for a token than a large one.",
        ("far less time for a token",),
    ),
    better=Follow(
        "A larger draft guesses better but costs more. At most a fifth of the target is a good rule.",
        ("larger draft guesses better",),
    ),
)

TARGET_MODEL = Topic(
    name="target_model",
    full="The target model is the large model whose text you get. It verifies all drafted tokens in one pass and decides "
    "which are kept. The output always follows its distribution.",
    short="The target model is the large model that verifies all drafted tokens in one pass.",
    simple="The target model is the large model that has the last word. Nothing enters the text unless it agrees.",
    needs=("target model is the large model",),
    things=("the target model", "a target model", "the target", "the large model", "the big model"),
    asks=(
        "what does the [target model|target|large model|big model] do",
        "what is the [target|large model] [for|good for]",
        "who [verifies|checks] the [drafts|drafted tokens]",
        "which model [decides|has the last word]",
    ),
    keywords=("target", "target model", "large model", "big model"),
    why=Follow(
        "Because the large model knows more, and its text is the one that you asked for.",
        ("the large model knows more",),
    ),
)

PICK_PAIR = Topic(
    name="pick_pair",
    full="To pick a pair, press Ctrl+P or choose Open pair in the File menu. Target and draft must share one vocabulary, "
    "and the draft should cost at most a fifth of the target. The better they agree, the higher the acceptance.",
    short="To pick a pair, press Ctrl+P and choose a target and a draft that share one vocabulary.",
    simple="To pick a pair, press Ctrl+P. Take a large target and a small draft of the same family.",
    needs=("to pick a pair, press ctrl+p",),
    things=("a good pair", "a model pair", "the pair"),
    acts=(
        "[pick|choose|open|load|change] [a pair|another pair|a model pair|other models|my own models]",
        "[use|load] another [draft|target|model]",
    ),
    asks=(
        "which [models|draft and target] [fit|go|work] together",
        "which draft should I [use|take|choose]",
        "what makes a good pair",
        "how small should the draft be",
    ),
    keywords=("pair", "open pair", "other models", "ctrl+p", "load models"),
    key=Follow("Yes, Ctrl+P opens the dialog for a pair.", ("ctrl+p opens",)),
    where=Follow("You find Open pair in the File menu.", ("find open pair in",)),
)

VOCABULARY = Topic(
    name="vocabulary",
    full="Target and draft need the same vocabulary because the target tests the tokens of the draft by their ids. With "
    "different vocabularies an id would mean another piece of text. The app compares the two and tells you if they differ.",
    short="Target and draft need the same vocabulary because the target tests the tokens of the draft by their ids.",
    simple="Target and draft need the same vocabulary, as two people need the same language. Otherwise the target could "
    "not read the proposals.",
    needs=("need the same vocabulary",),
    things=("the shared vocabulary", "the vocabulary of a pair"),
    asks=(
        "why [must|do|should] [the models|target and draft|both models|they] [share|have|need] [one|the same] vocabulary",
        "can [target and draft|the models] have different [vocabularies|tokens]",
        "[must|do] [both models|target and draft] [have|need] the same [vocabulary|tokenizer|tokens]",
        "what if the vocabularies [differ|are different]",
    ),
    keywords=("vocabulary", "same vocabulary", "tokenizer", "vocabularies"),
    example=Follow(
        "If id 7 is a cat in one vocabulary and a tree in the other, the draft says cat and the target reads tree.",
        ("the target reads tree",),
    ),
)

NETWORK = Topic(
    name="network",
    full="It needs no network and no server. Everything runs in one process on this machine, and a pair of models is "
    "built in. Your text stays here.",
    short="It needs no network: everything runs in one process on this machine.",
    simple="It needs no network. You can pull the cable and go on chatting, and your text stays here.",
    needs=("needs no network",),
    asks=(
        "[do I|does it|does the app|does this] need [a network|the internet|a server|a connection|an account]",
        "[does it|does the app|can I] [work|run|chat] [offline|without a network|without the internet]",
        "is my [text|chat|data] [sent|uploaded] [anywhere|to a server]",
        "is my [text|chat|data] [private|safe]",
        "where [does it|does the model|do the models] run",
        "are you online",
    ),
    keywords=("network", "offline", "internet", "server", "privacy"),
    why=Follow(
        "Because the models are files on your disk, and the app itself runs them.", ("files on your disk",)
    ),
)

HARDWARE = Topic(
    name="hardware",
    full="The built-in pair runs on a normal computer with two cores. The other home of the app is a host with AWS "
    "Inferentia2 or Trainium, for larger models.",
    short="It runs on a normal computer, and also on AWS Inferentia2 or Trainium hosts.",
    simple="A normal computer is enough for the built-in pair. For large models there are hosts with Inferentia2 or Trainium.",
    needs=("normal computer", "trainium"),
    things=("the hardware", "Inferentia2", "Trainium", "Inferentia", "the right hardware"),
    asks=(
        "[what|which] [hardware|computer|machine|device] do I need",
        "[do I|does it] need a [graphics card|GPU|big machine|fast computer]",
        "[does it|can it] run on [Trainium|Inferentia2|AWS|a laptop|my computer|a GPU]",
        "what [hardware|machine|device] does it run on",
    ),
    keywords=("hardware", "trainium", "inferentia2", "gpu", "aws", "cpu"),
    why=Follow("Because large models need fast memory, and those hosts have it.", ("need fast memory",)),
)

GUIDE = Topic(
    name="guide",
    full="I am the guide of this app, a small model that runs on your machine. I can explain k, TPOT, acceptance and the "
    "colours, write short stories, add numbers, and make code, tables and lists.",
    short="I am the guide of this app, and I explain k, TPOT, acceptance and the colours.",
    simple="I am the guide of this app. Ask me what the colours mean, or ask for a short story, a sum or a list.",
    needs=("i am the guide of this app",),
    asks=(
        "who are you",
        "what are you",
        "what can [you|I] [do|ask|do here|ask you]",
        "what can you [help|help me] with",
        "what do you know",
        "what is [this|this app|this program]",
        "[are|is] [you|this] [a robot|a person|real|a model]",
        "what is your name",
        "tell me [about yourself|who you are|what you can do]",
        "introduce yourself",
        "which model are you",
        "how can you help [me|]",
        "what should I [ask|try|ask you|try first]",
        "what is [this app|this program|the app] for",
        "explain this [app|program]",
        "I am new here, [what can I do|where do I start|what is this]",
        "help [me|]",
        "show me what you can do",
        "give me [some help|a tour|an overview]",
    ),
    keywords=("help", "guide", "who", "about you"),
    example=Follow(
        "Try this: write a story about Mira and a lamp, or ask me what a bonus is.",
        ("write a story about mira",),
    ),
)

TOPICS = (
    SPECULATIVE,
    FASTER,
    LOSSLESS,
    DRAFT_MODEL,
    TARGET_MODEL,
    PICK_PAIR,
    VOCABULARY,
    NETWORK,
    HARDWARE,
    GUIDE,
)
