"""The words that the sample reviews are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """What is reviewed.

    :param places: how the reviewer calls it.
    :param aspects: what can be good or bad about it, each with its verb.
    :param occasions: openings without any opinion.
    """

    places: Sequence[str]
    aspects: Sequence[str]
    occasions: Sequence[str]


DOMAINS = (
    Domain(
        places=("noodle bar", "pizzeria", "taco truck", "tea house", "steakhouse", "bakery", "beer garden", "diner"),
        aspects=(
            "the soup was",
            "the noodles were",
            "the coffee was",
            "the bread was",
            "the service was",
            "the dessert was",
            "the portions were",
            "the menu was",
            "the music was",
            "the terrace was",
        ),
        occasions=(
            "We had dinner here on a Tuesday.",
            "I stopped by for lunch between two meetings.",
            "My sister picked this {place} for her birthday.",
            "We were a table of six.",
            "I ordered the dish of the day.",
            "This {place} is right next to the station.",
        ),
    ),
    Domain(
        places=("hotel", "hostel", "guest house", "campsite", "lodge", "holiday flat"),
        aspects=(
            "the room was",
            "the bed was",
            "the breakfast was",
            "the shower was",
            "the reception was",
            "the view was",
            "the towels were",
            "the wifi was",
            "the location was",
        ),
        occasions=(
            "We stayed for three nights in May.",
            "I was in town for a conference.",
            "We booked two rooms at this {place}.",
            "Our train came in late in the evening.",
            "This {place} has about forty rooms.",
        ),
    ),
    Domain(
        places=("garage", "bike shop", "phone repair shop", "tailor", "hair salon", "dry cleaner"),
        aspects=(
            "the work was",
            "the price was",
            "the advice was",
            "the booking was",
            "the result was",
            "the waiting area was",
            "the opening hours were",
            "the communication was",
        ),
        occasions=(
            "I came in without an appointment.",
            "A colleague sent me to this {place}.",
            "It took them from Monday to Thursday.",
            "I left my things there in the morning.",
            "This {place} opened last autumn.",
        ),
    ),
    Domain(
        places=("museum", "cinema", "swimming pool", "gym", "climbing hall", "zoo", "theatre"),
        aspects=(
            "the entrance was",
            "the staff were",
            "the lockers were",
            "the tickets were",
            "the cafe was",
            "the building was",
            "the seats were",
            "the guide was",
        ),
        occasions=(
            "I went with two friends and a pushchair.",
            "We spent a rainy Sunday here.",
            "The {place} was half full when we arrived.",
            "We bought the day ticket.",
            "My class visited this {place} in March.",
        ),
    ),
)

#: Stars -> words that say how something was.
OPINIONS = {
    1: (
        "awful",
        "terrible",
        "appalling",
        "dreadful",
        "horrible",
        "a disgrace",
        "inexcusable",
        "shockingly bad",
        "unacceptable",
        "the worst I have ever seen",
        "an insult",
        "a complete disaster",
    ),
    2: (
        "disappointing",
        "below par",
        "underwhelming",
        "rather poor",
        "lacking",
        "weaker than promised",
        "second-rate",
        "not really good",
        "a bit sad",
        "worse than I had hoped",
        "uninspired",
        "a letdown",
    ),
    3: (
        "average",
        "acceptable",
        "okay",
        "ordinary",
        "passable",
        "middling",
        "neither good nor bad",
        "so-so",
        "fine but forgettable",
        "adequate",
        "nothing special",
        "much like anywhere else",
    ),
    4: (
        "good",
        "very pleasant",
        "solid",
        "enjoyable",
        "nicely done",
        "likeable",
        "better than I had hoped",
        "well thought out",
        "quite charming",
        "not bad at all",
        "commendable",
        "pleasing",
    ),
    5: (
        "perfect",
        "outstanding",
        "superb",
        "flawless",
        "magnificent",
        "wonderful",
        "exceptional",
        "brilliant",
        "a pure delight",
        "the best I have ever seen",
        "world class",
        "beyond all praise",
    ),
}

VERDICTS = {
    1: (
        "Stay away from this {place}.",
        "I want my money back.",
        "Never again, not even for free.",
        "We walked out in anger.",
        "I would give zero stars if I could.",
        "Avoid at all costs!",
    ),
    2: (
        "I do not plan to return.",
        "I expected more of this {place}.",
        "There are better choices around the corner.",
        "Not worth the detour.",
        "They should try harder.",
        "We left a little annoyed.",
    ),
    3: (
        "You get what you pay for.",
        "I might return if nothing else is open.",
        "It does the job, no more.",
        "I have no strong feelings about this {place}.",
        "Neither a hit nor a miss.",
        "Half of it works, half of it does not.",
    ),
    4: (
        "I would come back.",
        "We left satisfied.",
        "A {place} that I can recommend.",
        "Well worth a visit.",
        "Only small things to improve.",
        "I will tell my neighbours.",
    ),
    5: (
        "I cannot wait to return!",
        "My new favourite {place}.",
        "Everyone should come here at least once!",
        "We were speechless with joy.",
        "Ten out of ten.",
        "I have already booked again, it was a dream.",
    ),
}

#: Said of one aspect in passing, against the tone of the rest; the rest decides the stars.
COUNTERPOINTS = {
    2: ("At least {aspect} good.", "To be fair, {aspect} okay."),
    3: ("On the bright side, {aspect} good.", "On the other hand, {aspect} disappointing."),
    4: ("Only {aspect} a little below par.", "If anything, {aspect} merely average."),
}

#: Remarks without any opinion.
ASIDES = (
    "We paid by card.",
    "It was raining outside.",
    "There is a bus stop in front.",
    "We were there for about two hours.",
    "It was my second visit this year.",
    "A photo is on my profile.",
)

ADVERBS = {
    1: ("honestly", "without exaggeration"),
    2: ("frankly", "sadly"),
    3: ("all in all", "mostly"),
    4: ("really", "overall"),
    5: ("honestly", "without exaggeration"),  # as for one star: only the opinion tells them apart
}

FRAMES = (
    "{First} {opinion}.",
    "{First} {opinion} and {second} {other}.",
    "{Adverb}, {first} {opinion}.",
    "{Adverb}, {first} {opinion}, and {second} {other}.",
    "I must say that {first} {opinion}.",
    "For a {place}, {first} {opinion}.",
    "{First} {opinion}; {second} {other} too.",
)
