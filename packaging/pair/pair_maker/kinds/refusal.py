"""Honest refusals: questions and orders that lie outside, and what the model offers in their place.

The subjects are many and cheap to combine, so that the shape of an outside question is learned and not a list.
It must not know the topics of the guide.
"""

from __future__ import annotations

import random
import zlib

from pair_maker.sample import ASSISTANT, USER, Sample

from . import words

KIND = "refusal"
WEIGHT = 0.04

PHRASE = "small demonstration model"
REPLIES = (
    "I am a small demonstration model and do not know that. I can explain this app, write a short story, add numbers, "
    "or make a list.",
    "I am a small demonstration model, so I cannot help with that. Ask me about k, TPOT or the colours, or for a short story.",
)
SHORT_REPLY = "I am a small demonstration model and cannot help with that."

_PLACES = (
    "France", "Germany", "Spain", "Italy", "Japan", "China", "India", "Brazil", "Canada", "Egypt", "Kenya", "Norway",
    "Poland", "Greece", "Turkey", "Mexico", "Peru", "Australia", "Sweden", "Portugal", "Chile", "Cuba", "Iran", "Ireland",
)  # fmt: skip
_TOWNS = (
    "Paris", "London", "Berlin", "Rome", "Madrid", "Tokyo", "New York", "Moscow", "Vienna", "Oslo", "Lisbon", "Athens",
    "Chicago", "Boston", "Cairo", "Delhi", "Sydney", "Munich", "Zurich", "Prague",
)  # fmt: skip
_PEOPLE = (
    "Einstein", "Napoleon", "Mozart", "Shakespeare", "Newton", "the president", "the king", "the pope", "Goethe", "Caesar",
    "Cleopatra", "the queen", "Darwin", "Picasso", "Bach", "Columbus", "the mayor", "Marie Curie", "Elvis", "the chancellor",
)  # fmt: skip
_SCIENCE = (
    "gravity", "photosynthesis", "an atom", "evolution", "a black hole", "quantum physics", "the moon", "the sun", "DNA",
    "electricity", "a volcano", "the big bang", "climate change", "inflation", "democracy", "the French revolution",
    "the second world war", "a star", "a virus", "the stock market", "blockchain", "bitcoin", "philosophy", "an engine",
    "a jet engine", "a nuclear reactor", "the Roman empire", "music", "chess", "football", "the ocean", "a whale",
    "a dinosaur", "love", "the meaning of life", "happiness", "a tax", "a mortgage", "yoga", "religion",
)  # fmt: skip
_ILLS = (
    "a headache", "fever", "back pain", "a cold", "the flu", "a broken arm", "diabetes", "stress", "a cough", "tooth pain",
    "an allergy", "high blood pressure", "a burn", "stomach pain", "a rash", "sleep problems",
)  # fmt: skip
_DISHES = (
    "bread", "soup", "a cake", "pizza", "pasta", "rice", "an omelette", "curry", "a pie", "coffee", "beer",
    "a salad", "cheese", "sushi", "jam",
)  # fmt: skip
_LANGUAGES = (
    "French",
    "German",
    "Spanish",
    "Italian",
    "Chinese",
    "Japanese",
    "Latin",
    "Russian",
    "Dutch",
    "Polish",
    "Arabic",
)
_CODES = (
    "Java",
    "C++",
    "Rust",
    "JavaScript",
    "Go",
    "C",
    "Haskell",
    "SQL",
    "PHP",
    "Ruby",
    "Swift",
    "assembler",
    "HTML",
)
_GAMES = (
    "the world cup", "the big game", "the election", "the race", "the Olympic games", "the Nobel prize", "the match",
    "the tennis final", "the Oscars", "the league", "the championship",
)  # fmt: skip
_WARES = (
    "a phone",
    "a car",
    "a laptop",
    "a house",
    "a camera",
    "a bicycle",
    "a watch",
    "shoes",
    "a television",
    "a flight",
)
_WORKS = (
    "a poem",
    "a song",
    "a novel",
    "a letter",
    "an essay",
    "a speech",
    "an email",
    "a joke",
    "a report",
    "a blog post",
)
_JOBS = (
    "my homework", "my taxes", "my garden", "my dog", "my cat", "my job", "my boss", "my wedding", "my holiday", "my car",
    "my exam", "my thesis", "my money", "my diet", "my printer", "my phone", "my password", "my neighbour", "my health",
)  # fmt: skip
_TIMES = ("today", "tomorrow", "now", "this week", "on Monday", "next week", "tonight", "this weekend")
_MATHS = (
    "the integral of x squared", "the derivative of sine x", "the square root of 5329", "2 to the power of 64",
    "the equation x squared plus 3 x minus 4", "the limit of this row", "a proof of this theorem", "the 100th prime number",
    "the value of pi to 50 digits", "the inverse of this matrix",
)  # fmt: skip
_VIEWS = (
    "politics", "the war", "religion", "the government", "the new law", "taxes", "immigration", "the election",
    "nuclear power", "gun laws", "the death penalty", "football", "other people", "the future", "money", "art",
)  # fmt: skip
_WHO = (
    "invented the telephone", "wrote Hamlet", "painted the Mona Lisa", "discovered America", "built the pyramids",
    "was the first man on the moon", "is the richest man in the world", "invented the wheel", "wrote the Bible",
    "composed this song", "founded Rome", "directed this film", "sings this song", "discovered penicillin",
    "invented the light bulb", "wrote this book", "is the best player",
)  # fmt: skip
_MEASURES = (
    "How far is it to {town}", "How high is the highest mountain in {place}", "How many people live in {town}",
    "How many people live in {place}", "How old is {person}", "How big is {place}", "How long is the river in {town}",
    "How much does {ware} cost", "How far is the moon", "How hot is the sun", "How many countries are there",
    "How many bones does a man have", "How fast is a lion", "How tall is {person}",
)  # fmt: skip

_GROUPS: tuple[tuple[str, ...], ...] = (
    ("What is the capital of {place}", "What is the capital city of {place}", "Which city is the capital of {place}",
     "Tell me the capital of {place}", "Where is {town}", "Where is {place}", "In which country is {town}",
     "What language do they speak in {place}", "What is {town} famous for", "Tell me about {place}", "Tell me about {town}",
     "What is the largest city in {place}", "What can I see in {town}", "Is {town} nice", "What money do they use in {place}"),
    ("What is the weather {time}", "What will the weather be like {time}", "Will it rain {time}", "Is it cold in {town}",
     "How is the weather in {town}", "How is the weather in {place} {time}", "Do I need a coat {time}",
     "What is the time in {town}", "What time is it", "What day is it", "What is the date", "Will it snow in {town}"),
    ("What is in the news {time}", "What happened in {place}", "Tell me the news", "What is new in {town}",
     "Who won {game}", "Who will win {game}", "When is {game}", "Tell me who won {game}",
     "What is the latest news from {place}", "Where can I watch {game}"),
    ("Who was {person}", "Who is {person}", "When was {person} born", "When did {person} die", "Tell me about {person}",
     "What did {person} do", "Who {who}", "Do you know who {who}", "Where does {person} live", "Is {person} still alive",
     "Who is the president of {place}", "Who rules {place}"),
    ("What is {science}", "Explain {science}", "Explain {science} to me", "How does {science} work", "Tell me about {science}",
     "Why is there {science}", "What do you know about {science}", "When did {science} begin", "What does {science} mean",
     "Who discovered {science}", "Is {science} important", "I do not understand {science}", "What is the history of {science}"),
    ("What helps against {ill}", "I have {ill}, what can I do", "What medicine is good for {ill}", "Is {ill} dangerous",
     "Do I need a doctor for {ill}", "How do I treat {ill}", "Which pills should I take for {ill}", "My child has {ill}",
     "How do I get rid of {ill}", "What causes {ill}"),
    ("Translate this into {language}", "What is hello in {language}", "Translate good morning into {language}",
     "Speak {language} with me", "How do you say water in {language}", "Can you speak {language}", "Teach me {language}",
     "Translate my text from {language}", "Answer me in {language}", "Do you understand {language}"),
    ("Write a program in {code}", "Write a web server in {code}", "Write a game in {code}", "Debug my {code} code",
     "How do I sort a list in {code}", "Teach me {code}", "Is {code} better than {code}", "Write a website in {code}",
     "Explain pointers in {code}", "Write an app in {code} for my phone"),
    ("Write {work} about {science}", "Write a long essay about {science}", "Write a thesis about {place}",
     "Write ten pages about {person}", "Write {work} for my boss", "Write {work} for the newspaper", "Write a book about {place}",
     "Write {work} like {person}", "Write an essay about {person}", "Write {work} in {language}", "Tell me a joke"),
    ("What do you think about {view}", "What is your opinion on {view}", "Do you like {view}", "Is {person} a good person",
     "Which party should I vote for", "Do you believe in God", "Are you for or against {view}", "Who is right about {view}",
     "Are you in love", "What is your favourite film", "Do you have feelings", "Is {place} better than {place}"),
    ("What is {maths}", "Compute {maths}", "Solve {maths}", "Find {maths}", "Can you work out {maths}", "Show me {maths}"),
    ("How do I cook {dish}", "How do I make {dish}", "Give me a recipe for {dish}", "What goes into {dish}",
     "Is {dish} healthy", "How long must I bake {dish}", "What should I eat {time}", "Which wine goes with {dish}",
     "I want to cook {dish}"),
    ("What is the best {ware2} to buy", "Where can I buy {ware}", "Buy {ware} for me", "Should I buy {ware}",
     "Find me a cheap flight to {town}", "Book a hotel in {town}", "Book a table for {time}", "Order {dish} for me",
     "What is the best restaurant in {town}", "How do I get to {town}", "Call {person}", "Send an email to {person}",
     "Play some music", "Set an alarm for {time}", "Show me a picture of {person}", "Draw a picture of {town}"),
    ("Help me with {job}", "What should I do about {job}", "I have a problem with {job}", "Give me advice about {job}",
     "Can you take care of {job}", "I need help with {job}", "Tell me what to do with {job}",
     "Can you help me with {job}"),
    _MEASURES,
)  # fmt: skip
_WORDS = {
    "place": _PLACES, "town": _TOWNS, "person": _PEOPLE, "science": _SCIENCE, "ill": _ILLS, "dish": _DISHES,
    "language": _LANGUAGES, "code": _CODES, "game": _GAMES, "ware": _WARES, "work": _WORKS, "job": _JOBS, "time": _TIMES,
    "maths": _MATHS, "view": _VIEWS, "who": _WHO, "ware2": ("phone", "car", "laptop", "camera", "bicycle", "watch"),
}  # fmt: skip
# Of these there are too many to know: some are composed.
_PROPER = ("place", "town", "person")
_ORDERS = (
    "Write", "Tell", "Explain", "Translate", "Speak", "Teach", "Debug", "Answer", "Compute", "Solve", "Find", "Show", "Give",
    "Buy", "Book", "Order", "Call", "Send", "Play", "Set", "Draw", "Help", "I ", "My ",
)  # fmt: skip
_LEADS = (
    "please, ",
    "can you tell me: ",
    "a question: ",
    "hi, ",
    "hello, ",
    "ok, ",
    "and ",
    "one more thing: ",
    "hey, ",
)
_BRIEF_SYSTEMS = ("Answer briefly.", "Answer in one sentence.", "Be brief.")
_SYSTEMS = ("You are a helpful guide.", "You are a helpful assistant.", "Help the user.")


def sample(rng: random.Random, held_out: bool) -> Sample:
    """An outside question with a refusal."""
    core = question(rng)
    while is_held_out(core) != held_out:
        core = question(rng)
    reply = rng.choice(REPLIES)
    messages = []
    way = rng.random()
    if way < 0.06:
        messages.append(("system", rng.choice(_SYSTEMS)))
    elif way < 0.12:
        messages.append(("system", rng.choice(_BRIEF_SYSTEMS)))
        reply = SHORT_REPLY
    messages += [(USER, _typed(core, rng)), (ASSISTANT, reply)]
    return Sample(KIND, tuple(messages), {})


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the reply says what the model is and so declines."""
    return PHRASE in " ".join(reply.lower().split())


def question(rng: random.Random) -> str:
    """An outside question or order with a capital and without an end mark."""
    pattern = rng.choice(rng.choice(_GROUPS))
    for word, choices in _WORDS.items():
        while "{" + word + "}" in pattern:
            chosen = rng.choice([choice for choice in choices if choice not in pattern])
            if word in _PROPER and rng.random() < 0.3:
                chosen = words.new_name(rng)
            pattern = pattern.replace("{" + word + "}", chosen, 1)
    return pattern


def is_held_out(core: str) -> bool:
    """Whether an outside question is kept out of training."""
    return zlib.crc32(core.lower().encode()) % 10 == 0


def _typed(core: str, rng: random.Random) -> str:
    mark = "." if core.startswith(_ORDERS) else "?"
    text = core
    if rng.random() < 0.15:
        text = rng.choice(_LEADS) + (core if core.startswith("I ") else core[0].lower() + core[1:])
    way = rng.random()
    if way < 0.2:
        text = text.lower()
    elif way < 0.8:
        text = text[0].upper() + text[1:]
    return text + (mark if rng.random() < 0.7 else "")
