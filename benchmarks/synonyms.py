"""WordNet's synonyms as a file for `--augment synonyms:file=FILE`.

    apt-get install wordnet-base
    python -m benchmarks.synonyms /usr/share/wordnet synonyms.tsv

A word has the other words of its most frequent sense, in the part of speech in which WordNet's own texts tag it most.
(Files index.* and data.* as wndb(5WN) describes them; WordNet 3.0, Princeton University.)
"""

import argparse
from pathlib import Path

_PARTS = ("noun", "verb", "adj", "adv")


def read_first_senses(folder):
    """The folder of WordNet's files to (tagged uses, synonyms) by word, of the part of speech with most uses."""
    senses = {}
    for part in _PARTS:
        synsets = _read_synsets(folder / f"data.{part}")
        for line in _read_lines(folder / f"index.{part}"):
            fields = line.split()
            n_senses, n_pointers = int(fields[2]), int(fields[3])
            n_tagged = int(fields[5 + n_pointers])
            first = fields[len(fields) - n_senses]
            word = fields[0].replace("_", " ")
            others = [other for other in synsets[first] if other.lower() != word]
            if others and " " not in word and n_tagged > senses.get(word, (-1, []))[0]:
                senses[word] = (n_tagged, others)
    return senses


def _read_synsets(file):
    """Words of each synset by its offset."""
    synsets = {}
    for line in _read_lines(file):
        fields = line.split()
        count = int(fields[3], 16)
        words = fields[4 : 4 + 2 * count : 2]
        # An adjective may say where it stands: (a), (p) or (ip).
        synsets[fields[0]] = [word.partition("(")[0].replace("_", " ") for word in words]
    return synsets


def _read_lines(file):
    """Lines of one of WordNet's files without the licence, whose lines begin with spaces."""
    return [line for line in file.read_text(encoding="ascii").splitlines() if line[:1] != " "]


def main():
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="folder with index.noun, data.noun and so on")
    parser.add_argument("output", type=Path, help="file to write")
    options = parser.parse_args()
    senses = read_first_senses(options.wordnet)
    lines = ["\t".join([word, *others]) for word, (_, others) in sorted(senses.items())]
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines):,} words")


if __name__ == "__main__":
    main()
