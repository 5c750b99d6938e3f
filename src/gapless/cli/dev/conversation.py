"""What the crowd of the demo talks about: friends on their way to a concert. Told in order, over and over."""

from typing import Final, NamedTuple

__all__ = ["CONVERSATION", "Line"]


class Line(NamedTuple):
    """Somebody says something."""

    name: str
    text: str


_TALK: Final = """
Mira: ok who has the tickets
Jonas: me! all six, printed, like it is 1998
Mira: you printed them??
Jonas: paper needs no battery
Tariq: he is not wrong, remember Lisbon
Aiko: we do not talk about Lisbon
Lena: what happened in Lisbon
Tariq: four phones, zero percent, one locked hostel
Lena: 😂
Mira: doors at 19:30, support at 20:00
Jonas: so we meet at 19:00?
Aiko: 19:00 at the fountain
Sam: the fountain is being repaired, there is a fence
Aiko: ok then the bakery next to it
Lena: the one with the cinnamon buns?
Aiko: the one with the cinnamon buns
Lena: I will be there at 18:00 then
Tariq: save me one
Lena: no promises
Sam: line 4 has delays btw
Mira: how bad
Sam: signal failure, they say ten minutes
Jonas: so thirty
Sam: I am taking the 12 instead
Tariq: change of plan, bring jackets, it is going to rain after ten
Aiko: it is an open air stage isn't it
Tariq: yes
Aiko: 🙃
Jonas: I have two spare ponchos
Mira: of course you have
Jonas: paper tickets AND ponchos
Lena: dad energy
Jonas: thank you
Sam: does anyone remember which gate
Mira: gate C, west side
Tariq: it says B on the website
Mira: they moved it, there was a mail this morning
Tariq: ah, C then
Aiko: everyone: gate C, not B
Lena: got it, C
Sam: C
Jonas: C, and it is on the paper now, I wrote it down
Mira: who is cooking tomorrow by the way
Tariq: me, I promised
Tariq: is anybody still vegetarian
Lena: still vegetarian since Tuesday
Aiko: no peanuts for me please
Tariq: no peanuts, noted
Sam: can I bring Noor
Tariq: Noor is always welcome
Sam: she says she brings dessert
Lena: I love Noor
Mira: I just heard the new single on the radio
Aiko: and?
Mira: goosebumps
Jonas: they have to play it tonight
Tariq: they played it in Hamburg as the third song
Aiko: no spoilers!!
Tariq: sorry, I said nothing
Sam: on the 12 now, it is packed
Sam: there is a man with a tuba
Lena: maybe he is the support
Sam: he is practising
Jonas: is he good
Sam: he is loud
Mira: platform 2 is closed, use the stairs at the north end
Tariq: thanks, would have run straight into that
Aiko: I got the front spot at the bakery, six chairs
Lena: they are out of cinnamon buns
Aiko: what
Lena: I took the last four
Aiko: you are forgiven
Jonas: ten minutes out
Sam: same
Mira: eight
Tariq: I see the fence
Tariq: I see Lena eating
Lena: evidence is being destroyed
Mira: ok phones away when it starts
Jonas: one photo
Mira: one photo
"""

CONVERSATION: Final = tuple(Line(*line.split(": ", 1)) for line in _TALK.strip().splitlines())
