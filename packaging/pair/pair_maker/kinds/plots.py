"""The sentences that stories are made of.

Slots: {n} hero, {k} and {ak} what the hero is, {f} or {F} the helper first met, {f2} or {F2} the helper met again,
{at} "in the garden", {ata} "in a garden", {place}, {thing}, {o} "the lamp", {ao} "a lamp", {he} {him} {his} {He} {His}.
Only data; it must not know how a story is put together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plot:
    """The parts of one plot, each with sentences that fit any sentence of the other parts."""

    wish: tuple[str, ...]
    obstacle: tuple[str, ...]
    attempt: tuple[str, ...]
    help: tuple[str, ...]
    outcome: tuple[str, ...]


OPENINGS = (
    "Once there was {ak} named {n} {ata}.",
    "One morning {ak} named {n} woke up {ata}.",
    "{n} was {ak} who lived {ata}.",
    "Long ago {ak} named {n} lived {ata}.",
    "One day {ak} named {n} was {ata}.",
    "There was once {ak} named {n} who liked to be {ata}.",
    "On a warm day {ak} named {n} was alone {ata}.",
    "After a long walk {ak} named {n} rested {ata}.",
    "Every day {ak} named {n} was to be seen {ata}.",
    "It was quiet {ata} when {ak} named {n} came by.",
    "On a windy day {ak} named {n} stood {ata}.",
    "Early in spring {ak} named {n} arrived {ata}.",
    "One evening {ak} named {n} sat {ata}.",
    "Nobody knew why {ak} named {n} lived {ata}.",
    "{n} was a small but brave {k} who worked {ata}.",
)
TIMES = (
    ("at night", "One night {ak} named {n} was awake {ata}."),
    ("in winter", "One cold winter day {ak} named {n} was {ata}."),
    ("in the rain", "One day in the rain {ak} named {n} was {ata}."),
    ("in summer", "One hot summer day {ak} named {n} was {ata}."),
    ("in the morning", "Early one morning {ak} named {n} was {ata}."),
    ("on a Sunday", "One quiet Sunday {ak} named {n} was {ata}."),
)

_LOST = Plot(
    wish=(
        "{n} had {ao} that {he} loved more than anything.",
        "{His} greatest treasure was {ao}.",
        "{n} never went anywhere without {ao}.",
    ),
    obstacle=(
        "But one day {o} was gone.",
        "Then a strong wind came and {o} was lost.",
        "But when {n} woke up, {o} was not there.",
        "Then {n} fell asleep, and {o} disappeared.",
    ),
    attempt=(
        "{n} looked everywhere, but found nothing.",
        "{n} searched the whole day without luck.",
        "{He} looked under every stone and behind every door.",
        "{n} asked everyone, but nobody had seen it.",
    ),
    help=(
        "Then {f} came and helped {him} to look.",
        "{F} heard {him} cry and came at once.",
        "At last {f} remembered where it was.",
    ),
    outcome=(
        "Together they found {o} behind a big door.",
        "{F2} found {o} in a dark corner.",
        "They found {o} under an old box.",
        "There was {o}, safe and dry.",
    ),
)
_OWNER = Plot(
    wish=(
        "There {n} found {ao} that belonged to somebody else.",
        "On the ground {he} saw {ao} and wondered who had lost it.",
        "Somebody had left {ao} there, and {n} wanted to give it back.",
    ),
    obstacle=(
        "But there was no name on {o}.",
        "But nobody was near.",
        "But {n} did not know whom to ask.",
        "But everybody said that it was not theirs.",
    ),
    attempt=(
        "{n} carried {o} from door to door.",
        "{n} wrote a note and waited all day.",
        "{He} called as loudly as {he} could.",
        "So {n} sat down beside {o} and waited.",
    ),
    help=(
        "In the evening {f} came and looked for something.",
        "Then {n} met {f}, who looked very sad.",
        "At last {f} came along the road.",
    ),
    outcome=(
        "It was {f2} who had lost {o}.",
        '"That is mine!" said {f2} with a big smile.',
        "{n} gave {o} back, and {f2} thanked {him}.",
        "{F2} was so glad to see {o} again.",
    ),
)
_BROKEN = Plot(
    wish=(
        "{n} had {ao}, but it was broken.",
        "There stood {ao} that had been broken for years.",
        "{n} wanted to repair {ao}.",
    ),
    obstacle=(
        "But one small part was missing.",
        "But {he} had no tools.",
        "But it was harder than {he} had thought.",
        "But nobody had ever shown {him} how.",
    ),
    attempt=(
        "{n} tried once, twice and three times.",
        "{n} worked until the sun went down.",
        "{He} turned {o} around and looked at it for a long time.",
        "{n} tried it with a bit of string.",
    ),
    help=(
        "Then {f} came and brought the right tools.",
        "{F} knew what to do and showed {him}.",
        "Then {n} asked {f} for help.",
    ),
    outcome=(
        "Step by step they made {o} as good as new.",
        "After an hour {o} was whole again.",
        "In the end {o} looked better than before.",
        "{F2} held it, {n} worked, and soon {o} was ready.",
    ),
)
_GIFT = Plot(
    wish=(
        "{n} wanted to give {ao} to a friend.",
        "{n} was looking for a gift, and {he} thought of {ao}.",
        "{n} had promised to bring {ao} to a party.",
    ),
    obstacle=(
        "But the way was long and dark.",
        "But it began to rain.",
        "But {o} was too heavy for one.",
        "But the road was closed.",
    ),
    attempt=(
        "{n} took {o} and walked as fast as {he} could.",
        "{n} pulled and pushed, but it was slow.",
        "{He} tried another way and got lost.",
        "{n} waited, but nothing changed.",
    ),
    help=(
        "Then {f} came and carried it with {him}.",
        "{F} saw {him} and showed {him} the way.",
        "Luckily {f} was on the same road.",
    ),
    outcome=(
        "So {o} arrived just in time.",
        "They brought {o} to the door and knocked.",
        "When the door opened, everybody wanted to see {o}.",
        "Nobody had ever seen such a beautiful {thing}.",
    ),
)
_MAGIC = Plot(
    wish=(
        "There {n} found {ao} that could speak.",
        "One day {he} found {ao} that shone like the moon.",
        "There {n} found {ao}, and it was warm like a small sun.",
    ),
    obstacle=(
        '"You have one wish," said a quiet voice.',
        "When {n} touched {o}, everything went silent.",
        "But {o} would not let {him} go.",
        "Suddenly {o} began to move.",
    ),
    attempt=(
        "{n} thought about gold, but gold did not make {him} happy.",
        "{n} wanted to run, but {he} was too curious.",
        "{He} closed {his} eyes and counted to ten.",
        "{n} asked {o} where it came from, but it gave no answer.",
    ),
    help=(
        "Then {f} came and was not afraid at all.",
        "{F} told {him} what {o} could do.",
        "Just then {f} came around the corner.",
    ),
    outcome=(
        "So {n} wished for a friend, and {f2} stayed.",
        "Together they put {o} back where it belonged.",
        "{F2} laughed, and {o} became an ordinary {thing} again.",
        "They shared the wish and wished for a good year.",
    ),
)
_TRADE = Plot(
    wish=(
        "{n} dreamed of having {ao}.",
        "More than anything {n} wanted {ao}.",
        "Each day {n} saw {ao} and wished that it were {his} own.",
    ),
    obstacle=(
        "But {he} had no money.",
        "But {o} belonged to a rich man.",
        "But it cost more than {he} had.",
        "But there was only one, and it was not for sale.",
    ),
    attempt=(
        "{n} worked hard and saved every coin.",
        "{n} offered {his} hat, but that was not enough.",
        "{He} sold apples for a whole week.",
        "{n} sang songs, but only a few people listened.",
    ),
    help=(
        "Then {f} offered to pay half of it.",
        "{F} saw how hard {he} worked and smiled.",
        "Then {f} had a clever idea.",
    ),
    outcome=(
        "The next day {o} belonged to both of them.",
        "In the end {n} held {o} in {his} arms.",
        "{F2} put {o} on the table and said that it was a gift.",
        "So {n} got {o} and shared it with {f2}.",
    ),
)
_STORM = Plot(
    wish=(
        "{n} had only {ao} and a piece of bread.",
        "{n} was there to look after {ao}.",
        "{n} carried {ao} under {his} arm.",
    ),
    obstacle=(
        "Suddenly a storm came up.",
        "Then all the lights went out.",
        "Then a loud noise came from outside.",
        "Then the water began to rise.",
    ),
    attempt=(
        "{n} held {o} tight and hid behind a wall.",
        "{n} called for help, but nobody heard it.",
        "{He} wanted to run, but {he} could not leave {o} behind.",
        "{n} was afraid, but {he} stayed calm.",
    ),
    help=(
        "Then {n} heard {f}, who was in trouble too.",
        "Then {f} came through the door, wet and cold.",
        "In the dark {n} met {f}.",
    ),
    outcome=(
        "With {o} they made a sign, and help came.",
        "They sat beside {o} and told stories until it was over.",
        "{n} shared a piece of bread, and {f2} looked after {o}.",
        "In the morning the sun shone on {o}.",
    ),
)
PLOTS = (_LOST, _OWNER, _BROKEN, _GIFT, _MAGIC, _TRADE, _STORM)

_HAPPY = (
    "From that day on {n} and {f2} were best friends.",
    "{n} had never been so happy.",
    "That evening they danced {at}.",
    "{n} laughed, and everyone {at} laughed too.",
    "And they were happy for a long time.",
)
_SAD = (
    "But {f2} had to leave, and {n} never saw {f2} again.",
    "But the next winter {n} was alone again {at}.",
    "Still, {n} cried a little when it was over.",
    "But {n} had to go away, and {at} it was silent.",
    "Only {o} was left, and {n} was sad.",
)
_FUNNY = (
    "Then {n} sneezed and fell right over {o}.",
    "And then a goose sat down on {o} and would not leave.",
    "In the end {n} noticed that {he} had worn two different shoes all day.",
    "Since then {n} says good night to {o} every evening.",
    "{n} laughed so much that {he} had to sit down {at}.",
)
_CALM = (
    "Then {n} went home and slept well.",
    "To this day {o} can be seen {at}.",
    "{n} smiled and thought that it had been a good day.",
    "And {n} learned that it is good to ask for help.",
    "Since then {n} has never been alone {at}.",
    "{n} put {o} in a safe place and made some tea.",
)
ENDINGS = {
    "happy": _HAPPY,
    "sad": _SAD,
    "funny": _FUNNY,
    "plain": (*_HAPPY, *_CALM, *_CALM[:3], _FUNNY[0], _FUNNY[3]),
}

# What one of the characters did after the story; {other} is the other character or "everyone".
THEN = (
    "Then {n} went home with {o} and told {other} about it.",
    "{n} stayed {at} and waited for the next day with {o}.",
    "{n} made tea for {other} and sat down beside {o}.",
    "The next day {n} came back and looked for {o} again.",
    "{n} said goodbye to {other} and walked away slowly.",
    "{n} was tired, so {he} slept until noon.",
    "{n} wrote a letter to {other} about {o}.",
)
