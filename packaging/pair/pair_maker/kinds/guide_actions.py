"""Topics of the guide: what one can do in the window.

Data only.  It must not know how questions are framed.
"""

from __future__ import annotations

from .guide_topic import Follow, Topic

SLIDER = Topic(
    name="slider",
    full="Move the slider below the chat to set k from 2 to 16. It is live: the new k takes effect at the next verify "
    "step, even while a reply runs, and the place is marked in the text.",
    short="Move the slider below the chat to set k from 2 to 16; it takes effect at the next verify step.",
    simple="Move the slider below the chat to set k. You can do it while the text runs and see the change at once.",
    needs=("move the slider below the chat",),
    things=("the slider", "the k slider", "the window slider", "the bar below the chat"),
    acts=(
        "[change|set|move|raise|lower] [k|the window|the slider]",
        "change [k|the window] [while it writes|during a reply|while the text runs]",
    ),
    asks=(
        "is the slider live",
        "when does [the slider|a new k|a change of k] take effect",
        "what does the slider do",
        "how do I use the slider",
        "what values can k have",
    ),
    keywords=("slider", "change k", "set k", "k slider"),
    where=Follow("You find the slider below the chat; it is called Window k.", ("it is called window k",)),
    why=Follow(
        "Because each verify step asks for the value anew, so nothing has to start again.",
        ("asks for the value anew",),
    ),
)

TOGGLE = Topic(
    name="toggle",
    full="Press Ctrl+D to switch speculation off or on. It is live and takes effect at the next verify step. While it is "
    "off, the target writes every token alone, and the tokens are grey.",
    short="Press Ctrl+D to switch speculation off or on.",
    simple="Press Ctrl+D to switch speculation off or on. Off means plain decoding, one token for each target pass.",
    needs=("press ctrl+d",),
    things=("the toggle", "the speculation toggle", "the speculation switch", "plain decoding"),
    acts=(
        "[switch|turn] [speculation|the draft|speculative decoding] [off|on]",
        "[switch|turn] [off|on] speculation",
        "[stop|disable|enable] [speculation|the draft]",
        "use [only the target|plain decoding]",
    ),
    asks=(
        "what does the [toggle|speculation toggle|speculation switch] do",
        "what happens [without|when I switch off] speculation",
    ),
    keywords=("toggle", "speculation off", "ctrl+d", "switch off"),
    why=Follow(
        "Because you may want to see how slow the text is without the draft.",
        ("how slow the text is without",),
    ),
    where=Follow(
        "You find the speculation toggle below the chat, beside the slider.", ("find the speculation toggle",)
    ),
)

STOP = Topic(
    name="stop",
    full="Press Esc to stop the reply. It stops within one model call. The part that is written stays in the chat and is "
    "marked, and you can send the next message at once.",
    short="Press Esc to stop the reply; the part that is written stays.",
    simple="Press Esc to stop the reply. Nothing is lost: you keep the words that are there.",
    needs=("press esc to stop the reply",),
    acts=(
        "[stop|cancel|end|break off|interrupt] [the reply|a reply|the text|the answer|it|you]",
        "make [it|you] stop",
    ),
    asks=(
        "what happens when I [stop|press Esc|cancel]",
        "the reply is too long, [what can I do|how do I stop it]",
        "is the text lost when I stop",
        "what does Esc do",
    ),
    keywords=("stop", "esc", "cancel", "stop reply"),
    key=Follow("Yes, the key is Esc.", ("the key is esc",)),
)

SEND = Topic(
    name="send",
    full="Type your message and press Enter to send it. Press Shift+Enter for a new line. If something goes wrong, your "
    "text stays in the box.",
    short="Press Enter to send and Shift+Enter for a new line.",
    simple="Type your words and press Enter to send. If you want a new line, hold Shift and press Enter.",
    needs=("press enter to send", "new line"),
    acts=(
        "[send|write|type] [a message|my message|a prompt|a question]",
        "[make|start|type] a new line",
        "break a line",
    ),
    asks=(
        "which key sends [the message|my message|the prompt]",
        "what does [Enter|Shift+Enter] do",
        "where do I type",
    ),
    keywords=("send", "enter", "new line", "shift+enter"),
)

EXPORT = Topic(
    name="export",
    full="Press Ctrl+E to export the conversation. You can choose JSON, HTML or Markdown. All three keep the acceptance of "
    "each token or its numbers; the JSON holds the whole record.",
    short="Press Ctrl+E to export the conversation as JSON, HTML or Markdown.",
    simple="Press Ctrl+E to export the conversation. Take HTML to show it to others, Markdown for notes, and JSON to open it again.",
    needs=("press ctrl+e to export",),
    things=("the export", "the export menu"),
    plural=("the export formats", "the formats"),
    acts=(
        "[export|save|store|keep|download] [the chat|this chat|the conversation|the text|my chat|the record]",
        "[share|show] the chat [with a friend|to others]",
        "get [the chat|the text] [as a file|as HTML|as JSON|as Markdown]",
    ),
    asks=(
        "[which|what] [formats|file formats|files] can I [export|save]",
        "can I export [JSON|HTML|Markdown]",
        "what is in the [export|JSON|exported file]",
    ),
    keywords=("export", "save", "export formats", "ctrl+e", "save chat"),
    key=Follow("Yes, the key for the export is Ctrl+E.", ("key for the export is ctrl+e",)),
    where=Follow("You find Export in the File menu.", ("find export in",)),
)

REPLAY = Topic(
    name="replay",
    full="Press Ctrl+O to open a record again. Choose a JSON file that you exported before. The replay shows the same "
    "text, colours and numbers, without running the models.",
    short="Press Ctrl+O to open a record again and replay it.",
    simple="Press Ctrl+O to open a record again. You see the old chat just as it was.",
    needs=("press ctrl+o to open a record",),
    things=("a replay", "the replay", "replay"),
    acts=(
        "[open|load|replay|view] [a record|an old chat|a saved chat|an exported file|a JSON file|a saved record]",
        "see an old chat again",
        "go back to an old chat",
    ),
    asks=("what does [replay|a replay] show", "does a replay run the models", "where are my old chats"),
    keywords=("replay", "open record", "ctrl+o", "open file", "load chat"),
    key=Follow("Yes, the key for a replay is Ctrl+O.", ("key for a replay is ctrl+o",)),
)

COMPARE = Topic(
    name="compare",
    full="To compare, send the same prompt twice, once with speculation off, and read TPOT both times. With the coupled "
    "acceptor both texts are the same. In a terminal you can run chatapp bench.",
    short="To compare, send the same prompt twice, once with speculation off, and read TPOT.",
    simple="To compare, send the same prompt twice: first with speculation, then without. The lower TPOT wins.",
    needs=("to compare, send the same prompt twice",),
    things=("the benchmark", "chatapp bench", "a fair comparison"),
    acts=(
        "compare [with and without speculation|both modes|the speed|on and off|two runs]",
        "[measure|see|test] [the speed-up|the gain|how much faster it is|the difference]",
        "[run|start] [a benchmark|the benchmark]",
    ),
    asks=(
        "how do I know [that|if] [speculation|it] [helps|is faster|pays]",
        "is it [really|truly] faster, how can I see it",
    ),
    keywords=("compare", "benchmark", "bench", "comparison"),
    why=Follow(
        "Because times can be compared only for the same prompt and the same text.",
        ("times can be compared only",),
    ),
)

SLOW = Topic(
    name="slow",
    full="If the text is slow, look at the acceptance rate. If it is low, lower k or the temperature; if it is high, raise "
    "k. Check that speculation is on, and close other busy programs.",
    short="If the text is slow, look at the acceptance rate: lower k when it is low, raise k when it is high.",
    simple="If the text is slow, check that speculation is on. Then move the slider up and down and keep the fastest k.",
    needs=("if the text is slow",),
    acts=(
        "[make|get] [it|the text|the reply|the chat] faster",
        "speed [it|the text|the reply] up",
        "get a lower TPOT",
        "raise the acceptance",
    ),
    asks=(
        "[the text|the reply|it|the chat|everything] is [slow|too slow|very slow], [what can I do|how do I fix it|what now|why]",
        "why is [the text|the reply|it|the chat] [so|very|] slow",
        "my TPOT is [high|too high|bad], what can I do",
        "the acceptance is [low|too low|bad], what can I do",
        "what can I do [against slow text|about low acceptance]",
    ),
    keywords=("slow", "too slow", "slow text", "low acceptance", "faster text"),
)

SAMPLING = Topic(
    name="sampling",
    full="Temperature sets how much chance is in the text: 0 always takes the most likely token, higher is freer. Top-p "
    "and top-k cut off unlikely tokens. High temperature lowers acceptance.",
    short="Temperature sets how much chance is in the text; top-p and top-k cut off unlikely tokens.",
    simple="Temperature sets how much chance is in the text. Use a low one for facts and a high one for stories.",
    needs=("temperature sets how much chance",),
    things=("temperature", "the temperature", "top-p", "top-k", "min-p", "the sampling"),
    plural=("the sampling settings", "temperature and top-p", "the settings", "the sampling parameters"),
    acts=("[change|set|lower|raise] [the temperature|top-p|top-k]", "[change|find] the sampling settings"),
    asks=(
        "what does [temperature|the temperature|top-p|top-k|min-p] do",
        "which temperature should I [use|take|set]",
        "does the temperature change the acceptance",
        "where are the settings",
    ),
    keywords=("temperature", "top-p", "top-k", "settings", "sampling"),
    where=Follow(
        "You find the sampling settings in the panel at the right.", ("find the sampling settings in",)
    ),
    better=Follow(
        "No, a higher temperature is freer but makes more mistakes.", ("freer but makes more mistakes",)
    ),
)

SEED = Topic(
    name="seed",
    full="The seed starts the random numbers. The same seed, prompt and settings give the same text again. You set it in "
    "the settings panel, and it is kept in the record.",
    short="The seed starts the random numbers, so the same seed gives the same text again.",
    simple="The seed starts the random numbers. Keep it to get the same reply again, change it to get another one.",
    needs=("seed starts the random numbers",),
    things=("the seed", "a seed", "the random seed", "the seed setting"),
    acts=("[set|change|choose|use] [a seed|the seed]", "get the same [text|reply|answer] [again|twice]"),
    asks=(
        "what does the seed do",
        "what is the seed [for|good for]",
        "why is the [reply|text|answer] [different|not the same] each time",
        "how do I repeat a reply",
    ),
    keywords=("seed", "random seed", "same reply again"),
    where=Follow(
        "You find the seed in the panel at the right, below the temperature.", ("find the seed in",)
    ),
    example=Follow(
        "Set the seed to 7, send a prompt, and send it again in a new chat: the reply is the same.",
        ("set the seed to 7",),
    ),
)

HOVER = Topic(
    name="hover",
    full="Hover a token to see its details: id, class, step and position, and the probability that target and draft gave "
    "it. For a correction you also see what the draft wanted.",
    short="Hover a token to see its id, class, step, position and probabilities.",
    simple="Hover a token to see its details. Put the pointer on a word and wait a moment.",
    needs=("hover a token to see its",),
    things=("the token detail", "the box over a token"),
    plural=("the token details", "the details of a token"),
    acts=(
        "[see|get|read|find] [the details|the probability|the class|the id] of a token",
        "[look at|inspect|select] [one token|a token|a single token]",
        "see what the draft wanted",
    ),
    asks=("what happens when I [hover|point at] a [token|word]", "which probability did a token have"),
    keywords=("hover", "token details", "probability of a token", "details"),
    why=Follow(
        "Because the two probabilities show why a draft was kept or rejected.", ("show why a draft was kept",)
    ),
)

THEME = Topic(
    name="theme",
    full="Open the View menu and choose the light or the dark theme. The colours of the tokens are made for both.",
    short="Choose the light or the dark theme in the View menu.",
    simple="Open the View menu and take the light or the dark theme, as your eyes like it.",
    needs=("the light or the dark theme",),
    things=("the theme", "dark mode", "the dark theme", "the light theme"),
    acts=(
        "[change|set|choose|switch] the theme",
        "[use|get|turn on|switch to] [dark mode|the dark theme|the light theme|light mode]",
        "make the window [dark|light|darker]",
    ),
    asks=("is there a [dark mode|dark theme|light theme]", "the window is too bright, what can I do"),
    keywords=("theme", "dark", "dark mode", "dark theme", "light mode"),
)

NEW_CHAT = Topic(
    name="new_chat",
    full="Press Ctrl+N for a new chat. The model then forgets the old conversation. Export it first if you want to keep it.",
    short="Press Ctrl+N for a new chat.",
    simple="Press Ctrl+N for a new chat. You get an empty page, and the old words no longer count.",
    needs=("press ctrl+n for a new chat",),
    things=("a new chat",),
    acts=(
        "[start|open|begin|make] a [new chat|new conversation|fresh chat]",
        "[clear|empty|delete|forget] the [chat|conversation]",
        "start [again|over|from the beginning]",
    ),
    asks=("which key opens a new chat", "how do you forget what I said"),
    keywords=("new chat", "ctrl+n", "clear chat", "new conversation"),
    key=Follow("Yes, the key for a new chat is Ctrl+N.", ("key for a new chat is ctrl+n",)),
)

SYSTEM_PROMPT = Topic(
    name="system_prompt",
    full="The system prompt tells the model how to behave, for example to answer briefly. It stands before the first "
    "message. You write it in the settings panel at the right.",
    short="The system prompt tells the model how to behave and stands before the first message.",
    simple="The system prompt tells the model how to behave. Write answer briefly there, and the replies get shorter.",
    needs=("system prompt tells the model how to behave",),
    things=("the system prompt", "a system prompt", "the system message"),
    acts=(
        "[set|change|write|use|give] [a system prompt|the system prompt]",
        "tell the model how to behave",
        "make all replies [shorter|short|brief]",
    ),
    asks=(
        "what does the system prompt do",
        "what is the system prompt for",
        "where do I write the system prompt",
    ),
    keywords=("system prompt", "system message"),
    example=Follow(
        "Write this as the system prompt: answer in one sentence.", ("write this as the system prompt",)
    ),
    where=Follow(
        "You find the system prompt in the settings panel at the right.", ("find the system prompt in",)
    ),
)

FIRST_SLOW = Topic(
    name="first_slow",
    full="The first token is slow because the target must read the whole prompt before it. This is called prefill. A long "
    "prompt takes longer; in later turns the part already read is used again.",
    short="The first token is slow because the target must read the whole prompt before it.",
    simple="The first token is slow because the target must read all your words first. After that the text runs faster.",
    needs=("first token is slow because",),
    things=("prefill", "the prefill", "the wait before the first token"),
    asks=(
        "why [is|does] the first [token|word] [slow|so slow|take so long|late]",
        "why [does it|do I have to] wait [before the reply|at the beginning|before the first token]",
        "why does the reply [begin|start] so late",
        "why is the [beginning|start] [slow|so slow]",
        "nothing happens after I send, why",
    ),
    keywords=("prefill", "slow first token", "first token slow"),
)

TOPICS = (
    SLIDER,
    TOGGLE,
    STOP,
    SEND,
    EXPORT,
    REPLAY,
    COMPARE,
    SLOW,
    SAMPLING,
    SEED,
    HOVER,
    THEME,
    NEW_CHAT,
    SYSTEM_PROMPT,
    FIRST_SLOW,
)
