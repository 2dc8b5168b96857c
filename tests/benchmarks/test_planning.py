"""A made-up corpus, planned as a large one would be."""

import pytest

from benchmarks.planning import plan_corpus, tabulate

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(("n_files", "n_groups"), [(50, 1), (2, 25)])
def test_each_step_handles_the_whole_corpus_and_the_graph_is_small(capfd, n_files, n_groups):
    plan_corpus(n_files, n_groups, latency_s=0.001)
    lines = capfd.readouterr().out.splitlines()
    steps = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    graph, plan = (int(steps.pop(name).removesuffix(" bytes").replace(",", "")) for name in ("graph", "plan on disk"))
    assert steps == {
        "list": f"{n_files} files",
        "plan": "50 slices",
        "again": "50 slices",
        "resumed": "45 commits",
        "read in a worker": "50 slices",
    }
    assert 10_000 < graph < 100_000
    assert plan > 0
    assert len(tabulate("a corpus", lines).rows) == len(lines)
