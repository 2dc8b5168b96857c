"""WordNet's files to synonyms of words."""

import pytest

from benchmarks.synonyms import read_first_senses

LICENCE = "  1 This software and database is being provided to you\n"


@pytest.fixture
def wordnet(tmp_path):
    """`net` with two senses as a noun and one as a verb that is tagged less, and `ice cream` of two words."""
    noun = "00000010 06 n 02 net 0 web 0 001 @ 00000030 n 0000 | a mesh\n00000020 13 n 02 net 1 profits 0 000 | gain\n"
    (tmp_path / "data.noun").write_text(LICENCE + noun + "00000030 13 n 02 ice_cream 0 icecream 0 000 | dessert\n")
    index = "net n 2 1 @ 2 5 00000010 00000020\nweb n 1 1 @ 1 0 00000010\nice_cream n 1 0 1 1 00000030\n"
    (tmp_path / "index.noun").write_text(LICENCE + index)
    (tmp_path / "data.verb").write_text(LICENCE + "00000040 30 v 02 net 0 catch_up(a) 0 000 | catch\n")
    (tmp_path / "index.verb").write_text(LICENCE + "net v 1 0 1 2 00000040\n")
    for part in ("adj", "adv"):
        for kind in ("data", "index"):
            (tmp_path / f"{kind}.{part}").write_text(LICENCE)
    return tmp_path


def test_a_word_has_the_others_of_its_most_frequent_sense(wordnet):
    assert read_first_senses(wordnet) == {"net": (5, ["web"]), "web": (0, ["net"])}


def test_the_part_of_speech_with_most_uses_wins(wordnet):
    (wordnet / "index.verb").write_text(LICENCE + "net v 1 0 1 9 00000040\n")
    assert read_first_senses(wordnet)["net"] == (9, ["catch up"])
